use proptest::prelude::*;

use super::super::script::{Input, Level, Part, decode, render, speech, words};
use super::*;

fn audio(script: &[Part]) -> Vec<f32> {
    let samples = render(script).into_iter().map(|input| match input {
        Input::Samples(samples) => samples,
        Input::Lost(_) => vec![],
    });
    samples.flatten().collect()
}

struct Run {
    segments: Vec<Segment>,
    batches: Vec<usize>,
    longest: usize,
    most_held: usize,
}

fn run(audio: &[f32], config: RecordingConfig, chunk: usize) -> Run {
    let mut recording = Recording::new(config, Level::default());
    let mut done = Run {
        segments: vec![],
        batches: vec![],
        longest: 0,
        most_held: 0,
    };
    let mut recognise = |requests: &[Request<'_>]| {
        done.batches.push(requests.len());
        let longest = requests.iter().map(|request| request.audio.len()).max();
        done.longest = done.longest.max(longest.unwrap_or(0));
        requests
            .iter()
            .map(|request| Ok(decode(request, true)))
            .collect::<Vec<_>>()
    };
    for samples in audio.chunks(chunk) {
        done.segments.extend(recording.push(samples, &mut recognise).unwrap());
        done.most_held = done.most_held.max(recording.tape.held());
    }
    done.segments.extend(recording.finish(&mut recognise).unwrap());
    assert_eq!(recording.duration(), seconds(audio.len() as u64));
    done
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_word_is_recognised_once_and_in_order(
        script in speech(), window in prop_oneof![Just(8.0), Just(30.0)], batch in 1_usize..5, prompt in 0_usize..2,
        chunk in 100_usize..100_000,
    ) {
        let config = RecordingConfig { batch, prompt_characters: prompt * 100, ..RecordingConfig::new(window) };
        let done = run(&audio(&script), config, chunk);
        // A word at the edge of a window is not sure of itself.
        let said = done.segments.iter().flat_map(|segment| &segment.words).map(|word| word.word.replace('x', "w"));
        prop_assert_eq!(said.collect::<Vec<_>>(), words(&script));
        prop_assert!(done.longest as f64 <= window * 16_000.0);
        let most = if prompt > 0 { 1 } else { batch };
        prop_assert!(done.batches.iter().all(|&size| size <= most));
        let mut latest = 0.0;
        for word in done.segments.iter().flat_map(|segment| &segment.words) {
            prop_assert!(word.start >= latest && word.end >= word.start);
            latest = word.start;
        }
    }
}

#[test]
fn silence_is_not_decoded() {
    let done = run(&audio(&[Part::Pause(100_000)]), RecordingConfig::new(30.0), 16_000);
    assert!(done.batches.is_empty() && done.most_held < 5 * 16_000);
}

#[test]
fn windows_are_decoded_in_batches_once_the_language_is_known() {
    let phrase = [
        Part::Word {
            id: 1,
            ms: 500,
            gap_ms: 100,
        },
        Part::Pause(2_000),
    ];
    let script: Vec<Part> = phrase.iter().cycle().take(42).cloned().collect();
    let done = run(&audio(&script), RecordingConfig::new(30.0), 16_000);
    assert_eq!(done.batches, [1, 8, 8, 4]);
    assert_eq!(done.segments.len(), 21);
    assert!(done.segments.windows(2).all(|pair| pair[0].end < pair[1].start));
}

#[test]
fn long_speech_is_cut_between_words() {
    let script: Vec<Part> = (0..60)
        .map(|id| Part::Word {
            id: id % 4,
            ms: 400,
            gap_ms: 200,
        })
        .collect();
    let done = run(&audio(&script), RecordingConfig::new(8.0), 1_000);
    assert_eq!(
        done.segments.iter().map(|segment| segment.words.len()).sum::<usize>(),
        60
    );
    assert!(done.longest <= 8 * 16_000);
}

#[test]
fn a_window_that_fails_is_an_error() {
    let mut recording = Recording::new(RecordingConfig::new(30.0), Level::default());
    let samples = audio(&[Part::Word {
        id: 1,
        ms: 500,
        gap_ms: 2_000,
    }]);
    let mut fail = |requests: &[Request<'_>]| {
        requests
            .iter()
            .map(|_| Err(WhisperError::Request("no luck".into())))
            .collect::<Vec<_>>()
    };
    let pushed = recording
        .push(&samples, &mut fail)
        .and_then(|_| recording.finish(&mut fail));
    assert!(matches!(pushed, Err(WhisperError::Request(reason)) if reason == "no luck"));
}
