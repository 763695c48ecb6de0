//! Which tokens may come next.
use rten_simd::SimdOp;

use super::vocabulary::Vocabulary;
use crate::whisper::kernels::SumExp;

/// The rules of one search: suppressed tokens, and with timestamps their grammar (`ApplyTimestampRules` of OpenAI's
/// `decoding.py`; transformers' `WhisperTimeStampLogitsProcessor` is the same).
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    /// Whether the text is to be interleaved with times.
    pub(super) timestamps: bool,
    /// Whether the text begins here, not after a prefix.
    pub(super) from_begin: bool,
}

impl Rules<'_> {
    /// Makes the tokens that must not follow `text` impossible. `scores` are logits or log probabilities.
    pub(super) fn apply(&self, text: &[u32], scores: &mut [f32]) {
        let vocabulary = self.vocabulary;
        if text.is_empty() && self.from_begin {
            forbid(scores, &vocabulary.begin_suppress);
        }
        forbid(scores, &vocabulary.suppress);
        if self.timestamps
            && let Some(no_timestamps) = vocabulary.no_timestamps
        {
            forbid(scores, &[no_timestamps]);
            self.apply_timestamps(text, scores);
        }
    }

    fn apply_timestamps(&self, text: &[u32], scores: &mut [f32]) {
        let begin = self.vocabulary.timestamp_begin as usize;
        let is_timestamp = |token: &u32| self.vocabulary.is_timestamp(*token);
        let last = text.last().is_some_and(is_timestamp);
        let before_last = text.len() < 2 || is_timestamp(&text[text.len() - 2]);
        if last && before_last {
            // A pair is complete: text comes next.
            forbid_range(scores, begin..scores.len());
        } else if last {
            // A segment's end wants the next segment's start, or the end of the text.
            forbid_range(scores, 0..self.vocabulary.end_of_text as usize);
        }
        if let Some(&latest) = text.iter().rfind(|token| is_timestamp(token)) {
            // Times never go back, and a segment is not empty; the next one may start where this ended.
            let starts_next = last && !before_last;
            let lowest = latest as usize + usize::from(!starts_next);
            forbid_range(scores, begin..lowest);
        }
        if text.is_empty() {
            forbid_range(scores, 0..begin);
            if let Some(most) = self.vocabulary.max_initial_timestamp {
                forbid_range(scores, begin + most + 1..scores.len());
            }
        }
        let (words, times) = scores.split_at_mut(begin.min(scores.len()));
        let likeliest_word = words.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if log_sum_exp(times) > likeliest_word {
            words.fill(f32::NEG_INFINITY);
        }
    }
}

fn forbid(scores: &mut [f32], tokens: &[u32]) {
    for &token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

fn forbid_range(scores: &mut [f32], range: std::ops::Range<usize>) {
    let end = range.end.min(scores.len());
    let start = range.start.min(end);
    scores[start..end].fill(f32::NEG_INFINITY);
}

/// The logarithm of the sum of exponentials; -inf for none.
pub(super) fn log_sum_exp(scores: &[f32]) -> f32 {
    let (highest, sum) = SumExp(scores).dispatch();
    if highest == f32::NEG_INFINITY {
        return highest;
    }
    highest + sum.ln()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) const SIZE: usize = 23;

    /// Text tokens 0 to 9, end 10, start 11, no-timestamps 12, ten timestamps from 13.
    pub(in super::super) fn vocabulary() -> Vocabulary {
        Vocabulary {
            start_of_transcript: 11,
            end_of_text: 10,
            start_of_previous: None,
            no_speech: None,
            no_timestamps: Some(12),
            timestamp_begin: 13,
            transcribe: None,
            translate: None,
            languages: Vec::new(),
            suppress: vec![11],
            begin_suppress: vec![10],
            max_initial_timestamp: Some(4),
        }
    }

    /// The tokens allowed after `text` when all are equally likely, or the given one far likelier than the rest.
    fn allowed(timestamps: bool, text: &[u32], likely: Option<u32>) -> Vec<u32> {
        let vocabulary = vocabulary();
        let mut scores = vec![0.0; SIZE];
        if let Some(token) = likely {
            scores[token as usize] = 20.0;
        }
        Rules {
            vocabulary: &vocabulary,
            timestamps,
            from_begin: true,
        }
        .apply(text, &mut scores);
        (0..)
            .zip(scores)
            .filter(|&(_, score)| score > f32::NEG_INFINITY)
            .map(|(token, _)| token)
            .collect()
    }

    #[test]
    fn the_sum_of_exponentials_knows_its_edges() {
        let scores = [0.0, f32::NEG_INFINITY, 3f32.ln(), -200.0];
        assert!((log_sum_exp(&scores) - 4f32.ln()).abs() < 1e-6);
        assert_eq!(log_sum_exp(&[]), f32::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 20]), f32::NEG_INFINITY);
        let many: Vec<f32> = vec![1.0; 1003];
        assert!((log_sum_exp(&many) - (1.0 + 1003f32.ln())).abs() < 1e-5);
    }

    #[test]
    fn suppressed_tokens_never_come_and_begin_suppressed_ones_not_first() {
        assert_eq!(
            allowed(false, &[], None),
            [&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12][..], &(13..23).collect::<Vec<_>>()].concat()
        );
        let later = allowed(false, &[1], None);
        assert!(later.contains(&10) && !later.contains(&11));
    }

    #[test]
    fn with_timestamps_text_begins_with_an_early_time() {
        assert_eq!(allowed(true, &[], Some(3)), [13, 14, 15, 16, 17]);
    }

    #[test]
    fn text_follows_a_starting_time() {
        assert_eq!(allowed(true, &[13], None), (0..=10).collect::<Vec<_>>());
    }

    #[test]
    fn after_a_segments_end_comes_the_next_ones_start_or_the_end_of_text() {
        assert_eq!(
            allowed(true, &[13, 1, 15], Some(10)),
            [&[10][..], &(15..23).collect::<Vec<_>>()].concat()
        );
    }

    #[test]
    fn text_follows_a_pair_of_times() {
        assert_eq!(allowed(true, &[13, 1, 15, 15], None), (0..=10).collect::<Vec<_>>());
    }

    #[test]
    fn times_win_when_they_are_together_likelier_than_any_word() {
        assert_eq!(allowed(true, &[13, 1], None), (14..23).collect::<Vec<_>>());
        assert!(allowed(true, &[13, 1], Some(2)).contains(&2));
    }

    proptest! {
        /// Whatever the scores, following the rules gives rising times in pairs around text, and never a dead end.
        #[test]
        fn greedy_choices_obey_the_grammar(seed in prop::collection::vec(prop::collection::vec(-4f32..4.0, 23), 1..20)) {
            let vocabulary = vocabulary();
            let rules = Rules { vocabulary: &vocabulary, timestamps: true, from_begin: true };
            let mut text: Vec<u32> = Vec::new();
            for mut scores in seed {
                rules.apply(&text, &mut scores);
                let best = (0..).zip(&scores).max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
                prop_assert!(*best.1 > f32::NEG_INFINITY);
                if best.0 == vocabulary.end_of_text { break; }
                text.push(best.0);
                // A full run of times leaves nothing but text; stop where the ten times are used up.
                if text.contains(&22) { break; }
            }
            let times: Vec<u32> = text.iter().copied().filter(|&token| token >= 13).collect();
            prop_assert!(times.is_sorted());
            prop_assert!(text[0] >= 13 && text[0] <= 17);
            prop_assert!(!text.windows(3).any(|three| three.iter().all(|&token| token >= 13)));
        }
    }
}
