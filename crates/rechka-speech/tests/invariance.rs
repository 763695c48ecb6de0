//! What a window or a lane gives does not depend on its company, on the threads, or on how its tokens are portioned:
//! the bits are the same. Recognition after a crash forms other batches and must give the same text.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::Path;

use proptest::prelude::*;
use rechka_speech::whisper::{Cache, Encoded, Lane, Mel, Model, Precision, Step};

fn model(name: &str, precision: Precision, threads: usize) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
    Model::load(&path, precision).unwrap().with_threads(threads).unwrap()
}

fn audio(samples: usize, pitch: f32) -> Vec<f32> {
    (0..samples)
        .map(|n| {
            let t = n as f32 / 16_000.0;
            (t * pitch).sin() * (t * 9.0).sin() * 0.3 + (t * pitch * 2.1).sin() * 0.1
        })
        .collect()
}

/// A lane's audio and tokens, and the tokens of a second step.
#[derive(Clone, Debug)]
struct Speaker {
    samples: usize,
    pitch: f32,
    tokens: Vec<u32>,
    next: Vec<u32>,
}

fn speaker() -> impl Strategy<Value = Speaker> {
    let tokens = |most| proptest::collection::vec(0_u32..300, 1..most);
    (1_usize..40_000, 100.0_f32..2000.0, tokens(38), tokens(4)).prop_map(|(samples, pitch, tokens, next)| Speaker {
        samples,
        pitch,
        tokens,
        next,
    })
}

fn hear(model: &Model, speakers: &[Speaker]) -> Vec<Encoded> {
    let mels: Vec<Mel> = speakers.iter().map(|s| model.mel(&audio(s.samples, s.pitch))).collect();
    model.encode(&mels).unwrap()
}

/// Two steps for all speakers together: the results of both.
fn steps(model: &Model, heard: &[Encoded], speakers: &[Speaker]) -> Vec<(Step, Step)> {
    let mut caches = vec![Cache::new(); speakers.len()];
    let mut step = |tokens: fn(&Speaker) -> &[u32]| {
        let mut lanes: Vec<Lane<'_>> = speakers
            .iter()
            .zip(heard)
            .zip(&mut caches)
            .map(|((speaker, audio), cache)| Lane {
                logits_from: 0,
                attention: true,
                ..Lane::new(audio, cache, tokens(speaker))
            })
            .collect();
        model.decode(&mut lanes).unwrap()
    };
    let first = step(|speaker| &speaker.tokens);
    let second = step(|speaker| &speaker.next);
    first.into_iter().zip(second).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_lane_is_the_same_alone_and_in_a_batch(
        speakers in proptest::collection::vec(speaker(), 1..9),
        int8 in any::<bool>(),
        name in prop_oneof![Just("multilingual"), Just("english"), Just("large")],
    ) {
        let precision = if int8 { Precision::Int8 } else { Precision::F32 };
        let (batching, single) = (model(name, precision, 2), model(name, precision, 1));
        let together = steps(&batching, &hear(&batching, &speakers), &speakers);
        for (speaker, together) in speakers.iter().zip(together) {
            let speaker = std::slice::from_ref(speaker);
            let alone = steps(&single, &hear(&single, speaker), speaker);
            prop_assert_eq!(&alone[0], &together);
        }
    }
}

#[test]
fn lanes_that_share_a_window_are_the_same_alone() {
    let model = model("large", Precision::Int8, 2);
    let speakers: Vec<Speaker> = (0..7)
        .map(|n| Speaker {
            samples: 20_000,
            pitch: 300.0,
            tokens: vec![1 + n, 2, 3],
            next: vec![n],
        })
        .collect();
    let audio = hear(&model, &speakers[..1]).remove(0);
    let shared = vec![audio; speakers.len()];
    let together = steps(&model, &shared, &speakers);
    for (speaker, together) in speakers.iter().zip(together) {
        assert_eq!(steps(&model, &shared[..1], std::slice::from_ref(speaker))[0], together);
    }
}

#[test]
fn tokens_at_once_and_one_by_one_give_the_same() {
    for precision in [Precision::F32, Precision::Int8] {
        let model = model("multilingual", precision, 2);
        let tokens: Vec<u32> = (0..60).map(|n| (n * 37) % 300).collect();
        let audio = model.encode(&[model.mel(&audio(30_000, 400.0))]).unwrap().remove(0);
        let mut cache = Cache::new();
        let lane = Lane {
            logits_from: 0,
            ..Lane::new(&audio, &mut cache, &tokens)
        };
        let at_once = model.decode(&mut [lane]).unwrap().remove(0).logits;
        let mut cache = Cache::new();
        let one_by_one: Vec<f32> = tokens
            .chunks(1)
            .flat_map(|token| {
                model
                    .decode(&mut [Lane::new(&audio, &mut cache, token)])
                    .unwrap()
                    .remove(0)
                    .logits
            })
            .collect();
        assert_eq!(at_once, one_by_one);
    }
}

#[test]
fn a_forked_cache_goes_its_own_way_and_a_truncated_one_starts_over() {
    let model = model("english", Precision::Int8, 1);
    let audio = model.encode(&[model.mel(&audio(9_000, 500.0))]).unwrap().remove(0);
    let logits = |cache: &mut Cache, tokens: &[u32]| {
        model
            .decode(&mut [Lane::new(&audio, cache, tokens)])
            .unwrap()
            .remove(0)
            .logits
    };
    let past: Vec<u32> = (5..40).collect();
    let mut cache = Cache::new();
    logits(&mut cache, &past);
    let mut fork = cache.clone();
    let left = logits(&mut cache, &[1, 2]);
    let right = logits(&mut fork, &[3, 4]);
    assert_ne!(left, right);
    assert_eq!((cache.len(), fork.len()), (37, 37));
    for (end, expected) in [([1, 2], &left), ([3, 4], &right)] {
        let mut fresh = Cache::new();
        logits(&mut fresh, &past);
        assert_eq!(&logits(&mut fresh, &end), expected);
    }
    fork.truncate(past.len());
    assert_eq!(logits(&mut fork, &[1, 2]), left);
}

#[test]
fn requests_that_do_not_fit_are_refused_and_change_nothing() {
    let model = model("english", Precision::F32, 1);
    let other = self::model("large", Precision::F32, 1);
    let heard = model.encode(&[model.mel(&audio(5_000, 500.0))]).unwrap().remove(0);
    let foreign = other.encode(&[other.mel(&audio(5_000, 500.0))]).unwrap().remove(0);
    let vocab = model.config().vocab_size as u32;
    let full: Vec<u32> = vec![1; model.config().max_target_positions + 1];
    let mut cache = Cache::new();
    for (audio, tokens) in [(&heard, &[][..]), (&heard, &[vocab]), (&heard, &full), (&foreign, &[1])] {
        assert!(model.decode(&mut [Lane::new(audio, &mut cache, tokens)]).is_err());
        assert!(cache.is_empty());
    }
    assert!(
        model.encode(&[other.mel(&[0.0; 1000])]).is_err(),
        "another number of mel bands"
    );
    assert!(
        model
            .encode(&[model.mel(&[0.0; 1000]).padded(model.full_window() + 1)])
            .is_err()
    );
    assert_eq!(model.decode(&mut []).unwrap(), []);
    assert!(model.encode(&[]).unwrap().is_empty());
}
