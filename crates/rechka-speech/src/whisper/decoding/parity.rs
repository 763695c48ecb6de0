//! Parity with transformers on the random checkpoints of `tests/parity`: tokens of every kind of search, language
//! probabilities, times of tokens, words; and what a batch must not change.
//!
//! `PARITY_DIR=dir cargo test --lib parity` takes the checkpoints of another folder, full-size ones for instance, made by
//! `make_golden.py --size tiny -o dir` and `word_times.py dir`.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::job::Job;
use super::search::Decoded;
use super::{Context, Ended, Options, Request, Transcriber, lanes, timing, words};
use crate::whisper::Precision;

fn committed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

#[derive(Deserialize)]
struct Golden {
    languages: Option<Vec<String>>,
    max_new_tokens: usize,
    clips: Vec<Clip>,
    splits: Vec<Split>,
}

#[derive(Deserialize)]
struct Clip {
    runs: Runs,
    no_speech_prob: f32,
    language_probs: Option<std::collections::HashMap<String, f32>>,
}

#[derive(Deserialize)]
struct Runs {
    greedy: Vec<u32>,
    greedy_timestamps: Vec<u32>,
    beam: Vec<u32>,
    beam_timestamps: Vec<u32>,
}

#[derive(Deserialize)]
struct Split {
    text: String,
    language: String,
    tokens: Vec<u32>,
    words: Vec<String>,
    word_tokens: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct Times {
    clip: usize,
    tokens: Vec<u32>,
    begins: Vec<f64>,
}

struct Case {
    transcriber: Transcriber,
    golden: Golden,
    audio: Vec<Vec<f32>>,
    times: Vec<Times>,
}

/// A committed checkpoint.
fn case(name: &str) -> Case {
    read_case(&committed(), name)
}

/// Every checkpoint, by name.
fn cases() -> Vec<(String, Case)> {
    let folder = std::env::var_os("PARITY_DIR").map_or_else(committed, PathBuf::from);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let checkpoints = entries.filter(|entry| entry.path().join("golden.json").exists());
    let names = checkpoints.map(|entry| entry.file_name().into_string().unwrap());
    names.map(|name| (name.clone(), read_case(&folder, &name))).collect()
}

fn read_case(folder: &Path, name: &str) -> Case {
    let read = |file: &str| std::fs::read(folder.join(name).join(file)).unwrap();
    let audio = std::fs::read(folder.join("audio.safetensors")).unwrap();
    let audio = safetensors::SafeTensors::deserialize(&audio).unwrap();
    let samples = |clip: usize| {
        let bytes = audio.tensor(&clip.to_string()).unwrap().data();
        bytes
            .chunks_exact(2)
            .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0)
            .collect()
    };
    Case {
        transcriber: Transcriber::load(&folder.join(name), Precision::F32).unwrap(),
        golden: serde_json::from_slice(&read("golden.json")).unwrap(),
        times: serde_json::from_slice(&read("word_times.json")).unwrap(),
        audio: (0..2).map(samples).collect(),
    }
}

fn options(golden: &Golden) -> Options {
    Options {
        language: golden.languages.as_ref().map(|_| "English".to_owned()),
        temperatures: vec![0.0],
        context: Context::Padded,
        max_tokens: Some(golden.max_new_tokens),
        ..Options::default()
    }
}

fn request<'a>(audio: &'a [f32], options: &'a Options) -> Request<'a> {
    Request {
        audio,
        prompt: "",
        prefix: "",
        options,
    }
}

/// What a search finds, before anything is made of it.
fn decoded(case: &Case, clip: usize, options: &Options) -> (Decoded, f32) {
    let request = request(&case.audio[clip], options);
    let mut job = Job::new(&case.transcriber, &request).unwrap();
    case.transcriber.encode(&mut [&mut job]).unwrap();
    let run = job.run(&case.transcriber).unwrap();
    lanes::run(
        &case.transcriber.model,
        case.transcriber.vocabulary.no_speech,
        vec![run],
    )
    .unwrap()
    .remove(0)
}

#[test]
fn greedy_and_beam_tokens_are_those_of_transformers() {
    for (name, case) in cases() {
        for (clip, golden) in case.golden.clips.iter().enumerate() {
            let runs = &golden.runs;
            let expected = [
                (1, false, &runs.greedy),
                (1, true, &runs.greedy_timestamps),
                (5, false, &runs.beam),
                (5, true, &runs.beam_timestamps),
            ];
            for (beam_size, timestamps, expected) in expected {
                let options = Options {
                    beam_size,
                    timestamps,
                    ..options(&case.golden)
                };
                let (decoded, no_speech_prob) = decoded(&case, clip, &options);
                let end = case.transcriber.vocabulary.end_of_text;
                let text: Vec<u32> = expected.iter().copied().take_while(|&token| token != end).collect();
                assert_eq!(
                    decoded.tokens, text,
                    "{name} clip {clip} beam {beam_size} timestamps {timestamps}"
                );
                assert_eq!(decoded.ended == Ended::EndOfText, expected.contains(&end));
                let difference = (no_speech_prob - golden.no_speech_prob).abs();
                assert!(difference < 1e-3, "{name} clip {clip}: no speech {no_speech_prob}");
            }
        }
    }
}

#[test]
fn language_probabilities_are_those_of_transformers() {
    for (name, case) in cases() {
        for (audio, golden) in case.audio.iter().zip(&case.golden.clips) {
            let detected = case.transcriber.detect_language(audio, Context::Padded).unwrap();
            let Some(expected) = &golden.language_probs else {
                assert_eq!(detected, [("en".to_owned(), 1.0)]);
                continue;
            };
            assert_eq!(detected.len(), expected.len());
            for (code, probability) in detected {
                assert!(
                    (probability - expected[&code]).abs() < 1e-3,
                    "{name} {code} {probability}"
                );
            }
        }
    }
}

#[test]
fn the_likeliest_language_is_taken_when_none_is_given() {
    let case = case("multilingual");
    let detecting = Options {
        language: None,
        ..options(&case.golden)
    };
    for (audio, golden) in case.audio.iter().zip(&case.golden.clips) {
        let hypothesis = case
            .transcriber
            .transcribe(&[request(audio, &detecting)])
            .remove(0)
            .unwrap();
        let probabilities = golden.language_probs.as_ref().unwrap();
        let highest = probabilities.values().copied().fold(0.0, f32::max);
        assert!((hypothesis.language_probability - highest).abs() < 1e-3);
        assert!((probabilities[&hypothesis.language] - highest).abs() < 1e-6);
    }
}

#[test]
fn tokens_begin_within_one_frame_of_the_reference() {
    for (name, case) in cases() {
        let options = Options {
            word_times: true,
            ..options(&case.golden)
        };
        for times in &case.times {
            let request = request(&case.audio[times.clip], &options);
            let mut job = Job::new(&case.transcriber, &request).unwrap();
            case.transcriber.encode(&mut [&mut job]).unwrap();
            job.judge(&case.transcriber, found(&times.tokens), 0.0);
            timing::time_words(&case.transcriber, &mut [&mut job]).unwrap();
            let close = |(a, b): (&f64, &f64)| (a - b).abs() < 0.0201;
            let all_close = job.begins.iter().zip(&times.begins).all(close);
            assert!(
                job.begins.len() == times.begins.len() && all_close,
                "{name} clip {}: {:?}\n{:?}",
                times.clip,
                job.begins,
                times.begins
            );
        }
    }
}

fn found(tokens: &[u32]) -> Decoded {
    Decoded {
        tokens: tokens.to_vec(),
        log_probabilities: vec![-0.1; tokens.len()],
        avg_logprob: -0.1,
        ended: Ended::EndOfText,
    }
}

#[test]
fn text_is_encoded_and_split_into_words_as_transformers_does() {
    for (_, case) in cases() {
        let Case {
            transcriber, golden, ..
        } = case;
        for split in &golden.splits {
            assert_eq!(
                transcriber.tokenizer.encode(&split.text),
                split.tokens,
                "{}",
                split.text
            );
            assert_eq!(transcriber.tokenizer.decode(&split.tokens), split.text);
            let code = super::languages::code(&split.language);
            let words = words::split(&transcriber.tokenizer, &split.tokens, &code);
            let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(texts, split.words);
            let tokens: Vec<&[u32]> = words.iter().map(|word| &split.tokens[word.tokens.clone()]).collect();
            assert_eq!(tokens, split.word_tokens);
        }
    }
}

#[test]
fn a_request_does_not_depend_on_the_others_in_its_batch() {
    for (name, precision) in [("multilingual", Precision::F32), ("multilingual", Precision::Int8)] {
        let case = case(name);
        let transcriber = Transcriber::load(&committed().join(name), precision).unwrap();
        let greedy = Options {
            word_times: true,
            context: Context::Unpadded { margin: 0.5 },
            ..options(&case.golden)
        };
        let beam = Options {
            beam_size: 3,
            timestamps: true,
            ..options(&case.golden)
        };
        let sampled = Options {
            language: None,
            temperatures: vec![0.8],
            ..options(&case.golden)
        };
        let requests: Vec<Request<'_>> = [&greedy, &beam, &sampled]
            .into_iter()
            .flat_map(|options| case.audio.iter().map(move |audio| request(audio, options)))
            .chain([Request {
                prompt: "one two",
                prefix: "three",
                ..request(&case.audio[0], &greedy)
            }])
            .collect();
        let together: Vec<_> = transcriber
            .transcribe(&requests)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        for (request, together) in requests.iter().zip(together) {
            let alone = transcriber.transcribe(&[*request]).remove(0).unwrap();
            assert_eq!(alone, together, "{name} {precision:?}");
            assert!(!alone.segments.is_empty());
        }
    }
}

#[test]
fn a_request_that_can_not_be_served_says_why_and_spoils_no_other() {
    let case = case("english");
    let good = options(&case.golden);
    let translate = Options {
        task: super::Task::Translate,
        ..good.clone()
    };
    let long = vec![0.0; case.transcriber.window() + 1];
    let broken = [0.0, f32::NAN];
    let requests = [
        request(&long, &good),
        request(&case.audio[0], &good),
        request(&broken, &good),
        request(&[], &translate),
    ];
    let results = case.transcriber.transcribe(&requests);
    let error = |index: usize| results[index].as_ref().unwrap_err().to_string();
    assert!(error(0).contains("at most 6.0 s"), "{}", error(0));
    assert!(results[1].is_ok());
    assert!(error(2).contains("sample 1"), "{}", error(2));
    assert!(error(3).contains("multilingual"), "{}", error(3));
    let multilingual = super::parity::case("multilingual");
    let klingon = Options {
        language: Some("klingon".to_owned()),
        ..good
    };
    let error = multilingual
        .transcriber
        .transcribe(&[request(&[0.0; 1600], &klingon)])
        .remove(0)
        .unwrap_err();
    assert!(error.to_string().contains("de, ru, ja"), "{error}");
}

#[test]
fn when_no_attempt_is_believed_the_likeliest_is_given_and_always_the_same() {
    let case = case("multilingual");
    let options = Options {
        temperatures: vec![0.0, 0.6, 1.0],
        context: Context::Unpadded { margin: 0.5 },
        log_prob_threshold: 0.0,
        no_speech_threshold: 2.0,
        ..options(&case.golden)
    };
    let hypothesis = || {
        case.transcriber
            .transcribe(&[request(&case.audio[0], &options)])
            .remove(0)
            .unwrap()
    };
    let first = hypothesis();
    assert_eq!(hypothesis(), first);
    let single = Options {
        temperatures: vec![0.0],
        ..options.clone()
    };
    let greedy = case
        .transcriber
        .transcribe(&[request(&case.audio[0], &single)])
        .remove(0)
        .unwrap();
    let logprob = |hypothesis: &super::Hypothesis| hypothesis.segments[0].avg_logprob;
    assert!(logprob(&first) >= logprob(&greedy));
}

#[test]
fn doubt_and_a_high_no_speech_probability_make_silence() {
    let case = case("multilingual");
    let options = Options {
        log_prob_threshold: 0.0,
        no_speech_threshold: -1.0,
        ..options(&case.golden)
    };
    let hypothesis = case
        .transcriber
        .transcribe(&[request(&case.audio[0], &options)])
        .remove(0)
        .unwrap();
    assert_eq!((hypothesis.ended, hypothesis.text().as_str()), (Ended::Silence, ""));
    assert!(hypothesis.segments.is_empty());
}

#[test]
fn no_audio_at_all_is_decoded_without_complaint() {
    let case = case("english");
    let align_att = Some(super::AlignAtt::new(true));
    for options in [
        options(&case.golden),
        Options {
            align_att,
            word_times: true,
            ..options(&case.golden)
        },
    ] {
        assert!(case.transcriber.transcribe(&[request(&[], &options)]).remove(0).is_ok());
    }
    assert!(case.transcriber.transcribe(&[]).is_empty());
}
