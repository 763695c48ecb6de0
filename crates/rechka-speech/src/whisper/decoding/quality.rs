//! Whether a result can be believed, and what to try when not (Radford et al. 2022, §4.5).
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{Context, Options};

/// What is known of one attempt's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quality {
    pub(super) compression_ratio: f32,
    pub(super) avg_logprob: f32,
    pub(super) no_speech_prob: f32,
    /// Whether the search was stopped in a loop.
    pub(super) looped: bool,
    /// Bytes of text.
    pub(super) length: usize,
}

/// What to do with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Nothing is said in this window.
    Silence,
    /// The text goes round in circles.
    Loop,
    /// The model does not believe its own text.
    Doubt,
}

/// Short texts are never judged by how well they compress: "five five five five five" is a telephone number.
const SHORTEST_LOOP: usize = 80;

impl Quality {
    pub(super) fn verdict(&self, options: &Options) -> Verdict {
        let doubtful = self.avg_logprob < options.log_prob_threshold;
        let repeats = self.compression_ratio > options.compression_ratio_threshold && self.length >= SHORTEST_LOOP;
        if doubtful && self.no_speech_prob > options.no_speech_threshold {
            Verdict::Silence
        } else if self.looped || repeats {
            Verdict::Loop
        } else if doubtful {
            Verdict::Doubt
        } else {
            Verdict::Accept
        }
    }
}

/// One way to decode a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attempt {
    pub(super) temperature: f32,
    pub(super) context: Context,
    /// Position in the list of temperatures.
    index: usize,
}

impl Attempt {
    pub(super) fn first(options: &Options) -> Self {
        let temperature = options.temperatures.first().copied().unwrap_or(0.0);
        Attempt {
            temperature,
            context: options.context,
            index: 0,
        }
    }

    /// The next thing to try: the same with the full context, then the next temperature. With a single temperature only
    /// loops are worth the full context. AlignAtt stops early by itself and is never retried.
    pub(super) fn after(self, verdict: Verdict, options: &Options) -> Option<Self> {
        let retry = matches!(verdict, Verdict::Loop | Verdict::Doubt) && options.align_att.is_none();
        if !retry {
            return None;
        }
        let has_fallback = options.temperatures.len() > 1;
        if self.context != Context::Padded && (verdict == Verdict::Loop || has_fallback) {
            return Some(Attempt {
                context: Context::Padded,
                ..self
            });
        }
        let index = self.index + 1;
        let temperature = *options.temperatures.get(index)?;
        Some(Attempt {
            temperature,
            context: Context::Padded,
            index,
        })
    }
}

/// The best of several results, none of which was accepted: the likeliest that is no loop, else the likeliest.
pub(super) fn best_of(results: &[(Verdict, f32)]) -> usize {
    let rank = |&(verdict, avg_logprob): &(Verdict, f32)| (verdict != Verdict::Loop, avg_logprob);
    let better = |a: &(Verdict, f32), b: &(Verdict, f32)| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    // `max_by` gives the last of equals; the earliest attempt is the least random one.
    results
        .iter()
        .enumerate()
        .rev()
        .max_by(|a, b| better(a.1, b.1))
        .map_or(0, |(index, _)| index)
}

/// Length of the text over its zlib-compressed length; 0 for no text.
pub(super) fn compression_ratio(text: &str) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    compressed.map_or(0.0, |compressed| text.len() as f32 / compressed.len() as f32)
}

/// If the text ends in a loop — at least four times the same, 32 tokens or more in all — the length at which its second round
/// begins.
pub(super) fn loop_start(text: &[u32]) -> Option<usize> {
    (1..=text.len() / 4).find_map(|period| {
        let repeated = (period..text.len())
            .rev()
            .take_while(|&i| text[i] == text[i - period])
            .count()
            + period;
        let rounds = repeated / period;
        (rounds >= 4 && repeated >= 32).then(|| text.len() - repeated + period)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: Quality = Quality {
        compression_ratio: 1.2,
        avg_logprob: -0.3,
        no_speech_prob: 0.1,
        looped: false,
        length: 200,
    };

    fn verdict(quality: Quality) -> Verdict {
        quality.verdict(&Options::default())
    }

    #[test]
    fn results_are_judged_by_the_papers_thresholds() {
        assert_eq!(verdict(GOOD), Verdict::Accept);
        assert_eq!(
            verdict(Quality {
                compression_ratio: 2.5,
                ..GOOD
            }),
            Verdict::Loop
        );
        assert_eq!(
            verdict(Quality {
                avg_logprob: -1.1,
                ..GOOD
            }),
            Verdict::Doubt
        );
        assert_eq!(verdict(Quality { looped: true, ..GOOD }), Verdict::Loop);
    }

    #[test]
    fn silence_needs_both_doubt_and_a_high_no_speech_probability() {
        assert_eq!(
            verdict(Quality {
                no_speech_prob: 0.9,
                ..GOOD
            }),
            Verdict::Accept
        );
        assert_eq!(
            verdict(Quality {
                no_speech_prob: 0.9,
                avg_logprob: -1.1,
                ..GOOD
            }),
            Verdict::Silence
        );
    }

    #[test]
    fn a_telephone_number_of_one_digit_is_no_loop() {
        let text = "five ".repeat(10);
        let ratio = compression_ratio(&text);
        assert!((ratio - 3.125).abs() < 1e-6, "{ratio}, as Python's zlib has it");
        assert_eq!(
            verdict(Quality {
                compression_ratio: ratio,
                length: text.len(),
                ..GOOD
            }),
            Verdict::Accept
        );
    }

    #[test]
    fn the_full_context_is_tried_before_higher_temperatures() {
        let options = Options {
            temperatures: vec![0.0, 0.4],
            ..Options::default()
        };
        let attempt = Attempt::first(&options);
        assert_eq!(attempt.after(Verdict::Accept, &options), None);
        let second = attempt.after(Verdict::Doubt, &options).unwrap();
        assert_eq!((second.temperature, second.context), (0.0, Context::Padded));
        let third = second.after(Verdict::Doubt, &options).unwrap();
        assert_eq!((third.temperature, third.context), (0.4, Context::Padded));
        assert_eq!(third.after(Verdict::Loop, &options), None);
    }

    #[test]
    fn without_fallback_only_a_loop_gets_the_full_context() {
        let options = Options {
            temperatures: vec![0.0],
            ..Options::default()
        };
        let attempt = Attempt::first(&options);
        assert_eq!(attempt.after(Verdict::Doubt, &options), None);
        assert!(attempt.after(Verdict::Loop, &options).is_some());
    }

    #[test]
    fn the_best_failure_is_the_likeliest_that_does_not_loop() {
        use Verdict::{Doubt, Loop};
        assert_eq!(best_of(&[(Loop, -0.1), (Doubt, -1.5), (Doubt, -1.2)]), 2);
        assert_eq!(best_of(&[(Loop, -0.3), (Loop, -0.1)]), 1);
        assert_eq!(best_of(&[(Doubt, -1.5), (Doubt, -1.5)]), 0);
    }

    #[test]
    fn repetitive_text_compresses_well_and_plain_text_does_not() {
        assert!(compression_ratio(&"thank you very much ".repeat(20)) > 5.0);
        assert!(compression_ratio("seven three oh five, and then the river bends to the north") < 1.3);
        assert_eq!(compression_ratio(""), 0.0);
    }

    #[test]
    fn a_loop_begins_where_its_second_round_does() {
        let text: Vec<u32> = [9, 8].into_iter().chain((0..8).flat_map(|_| [1, 2, 3, 4])).collect();
        assert_eq!(loop_start(&text), Some(6));
        assert_eq!(loop_start(&text[..30]), None);
        assert_eq!(loop_start(&[5; 40]), Some(1));
        assert_eq!(loop_start(&[5; 20]), None, "twenty fives may be meant");
    }

    proptest! {
        #[test]
        fn text_without_repetition_is_no_loop(length in 0u32..300) {
            prop_assert_eq!(loop_start(&(0..length).collect::<Vec<_>>()), None);
        }
    }
}
