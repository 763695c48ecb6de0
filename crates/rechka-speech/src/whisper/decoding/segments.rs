//! Text with times to segments.
use super::vocabulary::Vocabulary;

/// Seconds per timestamp token and per encoder frame.
pub(super) const STEP: f64 = 0.02;

/// A segment's times in seconds and text tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) tokens: Vec<u32>,
}

/// Splits text at its timestamps. What has no time begins where the last segment ended and ends with the audio, `duration`
/// seconds long; no time lies beyond it. Special tokens other than times are left out, and segments without text.
pub(super) fn split(vocabulary: &Vocabulary, text: &[u32], duration: f64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0.0;
    let mut tokens = Vec::new();
    for &token in text {
        if vocabulary.is_timestamp(token) {
            let time = (f64::from(token - vocabulary.timestamp_begin) * STEP).min(duration);
            if !tokens.is_empty() {
                spans.push(Span {
                    start,
                    end: time.max(start),
                    tokens: std::mem::take(&mut tokens),
                });
            }
            start = time.max(start);
        } else if token < vocabulary.end_of_text {
            tokens.push(token);
        }
    }
    if !tokens.is_empty() {
        spans.push(Span {
            start,
            end: duration.max(start),
            tokens,
        });
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::vocabulary;
    use super::*;

    fn spans(text: &[u32]) -> Vec<(f64, f64, Vec<u32>)> {
        let spans = split(&vocabulary(), text, 0.15);
        spans
            .into_iter()
            .map(|span| (span.start, span.end, span.tokens))
            .collect()
    }

    #[test]
    fn pairs_of_times_bound_segments() {
        assert_eq!(
            spans(&[13, 1, 2, 15, 16, 3, 18]),
            [(0.0, 0.04, vec![1, 2]), (0.06, 0.1, vec![3])]
        );
    }

    #[test]
    fn text_without_times_spans_the_audio() {
        assert_eq!(spans(&[1, 2]), [(0.0, 0.15, vec![1, 2])]);
        assert_eq!(
            spans(&[14, 1, 16, 16, 2]),
            [(0.02, 0.06, vec![1]), (0.06, 0.15, vec![2])]
        );
    }

    #[test]
    fn times_stay_within_the_audio_and_in_order() {
        assert_eq!(spans(&[13, 1, 22]), [(0.0, 0.15, vec![1])]);
        assert_eq!(spans(&[20, 1, 14]), [(0.14, 0.14, vec![1])]);
    }

    #[test]
    fn special_tokens_are_not_text_and_empty_segments_do_not_count() {
        assert_eq!(spans(&[13, 11, 14, 14, 1, 16]), [(0.02, 0.06, vec![1])]);
    }
}
