//! Text that the model invents around silence (`hallucination_silence_threshold` of OpenAI's `transcribe.py`).
use crate::transcript::{Segment, Word};

/// Seconds at the window's edges that count as silence around.
const EDGE: f64 = 2.0;

/// Drops segments whose first words look invented and that have more than `silence` seconds of silence, or the window's edge, on
/// both sides.
pub(super) fn drop_invented(segments: Vec<Segment>, silence: f64, duration: f64) -> Vec<Segment> {
    let mut last_end = 0.0;
    let invented: Vec<bool> = segments.iter().map(|segment| is_anomalous(&segment.words)).collect();
    let starts: Vec<f64> = segments.iter().map(|segment| segment.start).collect();
    let mut kept = Vec::with_capacity(segments.len());
    for (index, segment) in segments.into_iter().enumerate() {
        let next_start = starts.get(index + 1).copied().unwrap_or(duration);
        let before = segment.start - last_end > silence || segment.start < EDGE.max(silence);
        let after = next_start - segment.end > silence
            || invented.get(index + 1).copied().unwrap_or(false)
            || duration - segment.end < EDGE;
        if invented[index] && before && after {
            continue;
        }
        last_end = segment.end;
        kept.push(segment);
    }
    kept
}

/// Whether the first eight words are improbable, too short or too long to have been spoken.
fn is_anomalous(words: &[Word]) -> bool {
    let first = words
        .iter()
        .filter(|word| !word.word.chars().all(|c| c.is_ascii_punctuation()))
        .take(8);
    let scores: Vec<f64> = first.map(anomaly).collect();
    let score: f64 = scores.iter().sum();
    !scores.is_empty() && (score >= 3.0 || score + 0.01 >= scores.len() as f64)
}

fn anomaly(word: &Word) -> f64 {
    let duration = word.end - word.start;
    let improbable = if word.probability < 0.15 { 1.0 } else { 0.0 };
    let short = (0.133 - duration).max(0.0) * 15.0;
    let long = (duration - 2.0).max(0.0);
    improbable + short + long
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: f64, end: f64, probability: f32) -> Segment {
        let words = vec![Word {
            word: "word".to_owned(),
            start,
            end,
            probability,
        }];
        Segment {
            start,
            end,
            text: " word".to_owned(),
            tokens: Vec::new(),
            temperature: 0.0,
            avg_logprob: -0.2,
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
            words,
        }
    }

    fn kept(segments: Vec<Segment>) -> Vec<f64> {
        drop_invented(segments, 2.0, 30.0)
            .into_iter()
            .map(|segment| segment.start)
            .collect()
    }

    #[test]
    fn an_improbable_segment_amid_silence_is_dropped() {
        assert_eq!(
            kept(vec![
                segment(1.0, 1.5, 0.9),
                segment(10.0, 10.5, 0.1),
                segment(20.0, 20.5, 0.9)
            ]),
            [1.0, 20.0]
        );
    }

    #[test]
    fn an_improbable_segment_between_others_is_kept() {
        assert_eq!(
            kept(vec![
                segment(9.0, 9.5, 0.9),
                segment(10.0, 10.5, 0.1),
                segment(11.0, 11.5, 0.9)
            ]),
            [9.0, 10.0, 11.0]
        );
    }

    #[test]
    fn a_lone_word_of_no_length_is_dropped_and_a_plausible_one_kept() {
        assert_eq!(kept(vec![segment(10.0, 10.02, 0.5)]), [0.0; 0]);
        assert_eq!(kept(vec![segment(10.0, 10.4, 0.5)]), [10.0]);
    }
}
