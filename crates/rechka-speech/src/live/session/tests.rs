use proptest::prelude::*;

use super::super::script::{Input, Level, Part, anything, decode, render, speech, words};
use super::*;

/// How a run goes: sizes of chunks, by turns, and the steps at which the process dies.
#[derive(Clone, Debug)]
struct Course {
    chunks: Vec<usize>,
    crashes: Vec<usize>,
    steady: bool,
    /// Every so many decodes fail; 0: none.
    failures: usize,
}

impl Course {
    fn plain(steady: bool) -> Self {
        Course {
            chunks: vec![1_600],
            crashes: vec![],
            steady,
            failures: 0,
        }
    }
}

fn config(policy: Policy, window: f64) -> Arc<Config> {
    Arc::new(Config {
        policy,
        ..Config::new(window)
    })
}

/// Feeds the chunk that the session needs next.
fn feed(session: &mut Session<Level>, inputs: &[Input], course: &Course, fed: &mut usize) {
    let next = session.next_sample();
    let mut at = 0;
    for input in inputs {
        match input {
            Input::Samples(samples) => {
                let end = at + samples.len() as u64;
                if next < end {
                    let from = (next - at) as usize;
                    let size = course.chunks[*fed % course.chunks.len()];
                    *fed += 1;
                    return session.push(&samples[from..samples.len().min(from + size)]);
                }
                at = end;
            }
            Input::Lost(samples) => {
                if next == at {
                    return session.lose(*samples, "lost on the way");
                }
                at += samples;
            }
        }
    }
    session.finish();
}

struct Run {
    outputs: Vec<Output>,
    most_held: usize,
    decodes: usize,
    longest: usize,
}

fn run(script: &[Part], config: &Arc<Config>, course: &Course) -> Run {
    let inputs = render(script);
    let mut session = Session::new(config.clone(), Level::default());
    let mut done = Run {
        outputs: vec![],
        most_held: 0,
        decodes: 0,
        longest: 0,
    };
    let mut fed = 0;
    for step in 0.. {
        if session.ended() {
            break;
        }
        if course.crashes.contains(&step) {
            let json = serde_json::to_string(session.state()).unwrap();
            let state: SessionState = serde_json::from_str(&json).unwrap();
            assert_eq!(&state, session.state());
            session = Session::restore(config.clone(), Level::default(), state);
        }
        match session.due() {
            Some(request) => {
                let fails = course.failures > 0 && (request.audio.len() / 256).is_multiple_of(course.failures);
                let hypothesis = decode(&request, course.steady);
                done.longest = done.longest.max(request.audio.len());
                done.decodes += 1;
                if fails {
                    session.failed("no luck")
                } else {
                    session.apply(&hypothesis)
                }
            }
            None => feed(&mut session, &inputs, course, &mut fed),
        }
        done.outputs.extend(session.outputs());
        done.most_held = done.most_held.max(session.held());
    }
    done
}

fn total(script: &[Part]) -> u64 {
    let lengths = render(script).into_iter().map(|input| match input {
        Input::Samples(samples) => samples.len() as u64,
        Input::Lost(samples) => samples,
    });
    lengths.sum()
}

fn finals(outputs: &[Output]) -> Vec<&Output> {
    outputs
        .iter()
        .filter(|output| !matches!(output, Output::Partial { .. }))
        .collect()
}

fn said(outputs: &[Output]) -> Vec<Word> {
    let words = outputs.iter().filter_map(|output| match output {
        Output::Segment {
            content: Content::Speech { words, .. },
            ..
        } => Some(words.clone()),
        _ => None,
    });
    words.flatten().collect()
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::LocalAgreement), Just(Policy::AlignAtt)]
}

fn windows() -> impl Strategy<Value = f64> {
    prop_oneof![Just(30.0), Just(8.0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunking_says_the_same(
        script in anything(), policy in policies(), window in windows(),
        chunks in prop::collection::vec(prop_oneof![1_usize..700, 1_usize..200_000], 1..8),
    ) {
        let config = config(policy, window);
        let plain = run(&script, &config, &Course::plain(false));
        let other = run(&script, &config, &Course { chunks, ..Course::plain(false) });
        prop_assert_eq!(plain.outputs, other.outputs);
    }

    #[test]
    fn crashes_change_nothing(
        script in anything(), policy in policies(), window in windows(),
        chunks in prop::collection::vec(1_usize..200_000, 1..8),
        crashes in prop::collection::vec(0_usize..400, 1..12),
        failures in prop_oneof![Just(0_usize), Just(5)],
    ) {
        let config = config(policy, window);
        let plain = run(&script, &config, &Course { failures, ..Course::plain(false) });
        let other = run(&script, &config, &Course { chunks, crashes, steady: false, failures });
        prop_assert_eq!(plain.outputs, other.outputs);
    }

    #[test]
    fn every_sample_is_accounted_for_once(script in anything(), policy in policies(), window in windows(), failures in 0_usize..6) {
        let done = run(&script, &config(policy, window), &Course { failures, ..Course::plain(false) });
        let (mut at, mut number) = (0, 0);
        for output in finals(&done.outputs) {
            match output {
                Output::Segment { segment, range, content } => {
                    prop_assert_eq!((*segment, range.start), (number, at));
                    prop_assert!(range.end > range.start);
                    let longest = if *content == Content::Silence { 30 * 16_000 } else { u64::MAX };
                    prop_assert!(range.end - range.start <= longest);
                    (at, number) = (range.end, number + 1);
                }
                Output::End { segment, samples } => prop_assert_eq!((*segment, *samples), (number, at)),
                Output::Partial { .. } => unreachable!(),
            }
        }
        prop_assert_eq!(at, total(&script));
        let ended = matches!(done.outputs.last(), Some(Output::End { .. }));
        prop_assert!(ended);
    }

    #[test]
    fn every_word_is_said_once_and_in_order(script in speech(), policy in policies(), window in windows()) {
        let done = run(&script, &config(policy, window), &Course::plain(true));
        let said: Vec<String> = said(&done.outputs).into_iter().map(|word| word.word).collect();
        prop_assert_eq!(said, words(&script));
    }

    #[test]
    fn words_lie_in_their_segment_and_never_go_back(script in anything(), policy in policies(), window in windows()) {
        let done = run(&script, &config(policy, window), &Course::plain(false));
        let mut latest = 0.0;
        for output in &done.outputs {
            let Output::Segment { range, content: Content::Speech { words, .. }, .. } = output else { continue };
            for word in words {
                prop_assert!(word.start >= latest && word.end >= word.start);
                prop_assert!(word.start >= seconds(range.start) && word.end <= seconds(range.end));
                latest = word.start;
            }
        }
    }

    #[test]
    fn committed_words_only_grow_until_their_segment_is_final(script in anything(), policy in policies(), window in windows()) {
        let done = run(&script, &config(policy, window), &Course::plain(false));
        let mut committed: Vec<String> = vec![];
        let mut open = 0;
        for output in &done.outputs {
            let (segment, text) = match output {
                Output::Partial { segment, committed, .. } => (*segment, committed.clone()),
                Output::Segment { segment, content: Content::Speech { text, .. }, .. } => (*segment, text.clone()),
                _ => continue,
            };
            let words: Vec<String> = text.split_whitespace().map(String::from).collect();
            if segment == open {
                // At a cut the rest of the committed words begins the next segment.
                let common = committed.len().min(words.len());
                prop_assert_eq!(&committed[..common], &words[..common]);
            }
            (open, committed) = (segment, words);
        }
    }

    #[test]
    fn memory_and_requests_are_bounded(script in anything(), policy in policies(), window in windows()) {
        let done = run(&script, &config(policy, window), &Course::plain(false));
        prop_assert!(done.longest as f64 <= window * 16_000.0);
        // Twice the buffer, since what is dropped is moved out by halves.
        prop_assert!(done.most_held as f64 <= 2.0 * (window.min(16.0) + 3.0) * 16_000.0, "{}", done.most_held);
    }
}

#[test]
fn silence_is_said_in_stretches_of_thirty_seconds() {
    let done = run(
        &[Part::Pause(100_000)],
        &config(Policy::LocalAgreement, 30.0),
        &Course::plain(true),
    );
    let ends: Vec<u64> = done
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Segment {
                range,
                content: Content::Silence,
                ..
            } => Some(range.end / 16_000),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [30, 60, 90, 100]);
    assert_eq!(done.decodes, 0);
}

#[test]
fn an_empty_session_is_complete() {
    let done = run(&[], &config(Policy::LocalAgreement, 30.0), &Course::plain(true));
    assert_eq!(done.outputs, [Output::End { segment: 0, samples: 0 }]);
}

#[test]
fn a_failed_decode_keeps_what_was_committed() {
    let script: Vec<Part> = (0..12)
        .map(|id| Part::Word {
            id,
            ms: 300,
            gap_ms: 100,
        })
        .collect();
    let mut session = Session::new(config(Policy::LocalAgreement, 30.0), Level::default());
    for input in render(&script) {
        if let Input::Samples(samples) = input {
            session.push(&samples);
        }
    }
    for _ in 0..3 {
        let hypothesis = decode(&session.due().unwrap(), true);
        session.apply(&hypothesis);
    }
    session.failed("out of memory");
    let outputs: Vec<Output> = session.outputs().collect();
    let contents: Vec<&Content> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Segment { content, .. } => Some(content),
            _ => None,
        })
        .collect();
    assert!(
        matches!(contents[0], Content::Speech { text, .. } if text.starts_with("w0 w1 w2")),
        "{contents:?}"
    );
    assert_eq!(
        contents[1],
        &Content::Failed {
            reason: "out of memory".into()
        }
    );
}

#[test]
fn the_next_request_knows_the_language_and_what_was_said() {
    let script = [
        Part::Word {
            id: 1,
            ms: 300,
            gap_ms: 1_000,
        },
        Part::Word {
            id: 2,
            ms: 300,
            gap_ms: 1_000,
        },
    ];
    let mut session = Session::new(config(Policy::LocalAgreement, 30.0), Level::default());
    for input in render(&script) {
        if let Input::Samples(samples) = input {
            session.push(&samples);
        }
    }
    let request = session.due().unwrap();
    assert_eq!((request.prompt, &request.options.language), ("", &None));
    let hypothesis = decode(&request, true);
    session.apply(&hypothesis);
    let request = session.due().unwrap();
    assert_eq!(
        (request.prompt, request.options.language.as_deref()),
        ("w1", Some("en"))
    );
}

/// Feeds so many minutes of the same minute; gives the most samples held.
fn long_session(minutes: u32) -> usize {
    let mut script: Vec<Part> = (0..80)
        .map(|id| Part::Word {
            id: id % 4,
            ms: 300,
            gap_ms: 100,
        })
        .collect();
    script.push(Part::Pause(28_000));
    let minute = render(&script);
    let mut session = Session::new(config(Policy::LocalAgreement, 30.0), Level::default());
    let (mut largest_state, mut most_held, mut words) = (0, 0, 0);
    for _ in 0..minutes {
        for input in &minute {
            let Input::Samples(samples) = input else { continue };
            for chunk in samples.chunks(1_600) {
                session.push(chunk);
                while let Some(request) = session.due() {
                    let hypothesis = decode(&request, true);
                    session.apply(&hypothesis);
                }
                words += said(&session.outputs().collect::<Vec<_>>()).len();
                most_held = most_held.max(session.held());
            }
        }
        largest_state = largest_state.max(serde_json::to_string(session.state()).unwrap().len());
    }
    assert_eq!(words, minutes as usize * 80);
    // Between phrases it is a few numbers and the prompt.
    assert!(largest_state < 1024, "{largest_state} bytes");
    assert_eq!(session.next_sample(), u64::from(minutes) * 60 * 16_000);
    most_held
}

#[test]
fn a_long_session_is_no_larger_than_a_short_one() {
    assert_eq!(long_session(60), long_session(5));
}

#[test]
#[ignore = "takes a minute: a whole day"]
fn a_session_of_a_day_is_no_larger_than_a_short_one() {
    assert_eq!(long_session(24 * 60), long_session(5));
}
