//! How late captions are: word emission latency and the latency of finals.
use std::time::{Duration, Instant};

use rechka_types::{Kind, Partial, Transcript};

use super::story::Spoken;

/// Follows captions against words whose times are known.
///
/// Words are matched by their number in the text: exact while the text is right, and a word off where it is not.
pub struct Measures {
    began: Instant,
    spoken: Vec<Spoken>,
    /// When word i was first shown, in seconds after its end.
    shown: Vec<f64>,
    /// Of every final: seconds from the end of its last word to its arrival.
    finals: Vec<f64>,
    final_words: usize,
}

impl Measures {
    /// Measures against `spoken`, whose first sample sounded at `began`.
    pub fn new(began: Instant, spoken: Vec<Spoken>) -> Self {
        Self {
            began,
            spoken,
            shown: Vec::new(),
            finals: Vec::new(),
            final_words: 0,
        }
    }

    /// A caption that may still change was shown.
    pub fn partial(&mut self, partial: &Partial, at: Instant) {
        let words = partial.committed.split_whitespace().count() + partial.tentative.split_whitespace().count();
        self.show(self.final_words + words, at);
    }

    /// A final segment arrived.
    pub fn transcript(&mut self, transcript: &Transcript, at: Instant) {
        let words = transcript.text.split_whitespace().count();
        if transcript.kind != Kind::Speech || words == 0 {
            return;
        }
        self.final_words += words;
        self.show(self.final_words, at);
        if let Some(last) = self.spoken.get(self.final_words - 1) {
            self.finals.push(self.after(last.end, at));
        }
    }

    /// Latency of a word's first showing, of a final after its last word: p50 and p95 in seconds.
    pub fn percentiles(&self) -> ([f64; 2], [f64; 2]) {
        let of = |values: &[f64]| [percentile(values, 0.50), percentile(values, 0.95)];
        (of(&self.shown), of(&self.finals))
    }

    fn show(&mut self, words: usize, at: Instant) {
        while self.shown.len() < words.min(self.spoken.len()) {
            let late = self.after(self.spoken[self.shown.len()].end, at);
            self.shown.push(late);
        }
    }

    /// Seconds from second `end` of the story to `at`; negative when a word was shown before its end.
    fn after(&self, end: f64, at: Instant) -> f64 {
        at.saturating_duration_since(self.began).as_secs_f64() - Duration::from_secs_f64(end.max(0.0)).as_secs_f64()
    }
}

/// The nearest-rank percentile; not a number without values.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_from_their_end_to_their_first_showing() {
        let began = Instant::now();
        let spoken = [("one", 1.0), ("two", 2.0), ("three", 3.0)]
            .map(|(word, end)| Spoken {
                word: word.into(),
                start: end - 0.5,
                end,
            })
            .to_vec();
        let mut measures = Measures::new(began, spoken);
        let at = |seconds: f64| began + Duration::from_secs_f64(seconds);
        let partial = |committed: &str, tentative: &str| Partial {
            session: "story".into(),
            segment: 0,
            start: 0.0,
            end: 3.0,
            committed: committed.into(),
            tentative: tentative.into(),
        };
        measures.partial(&partial("", "one"), at(1.5));
        measures.partial(&partial("one", "two"), at(2.25));
        let segment = Transcript {
            session: "story".into(),
            segment: 0,
            revision: 0,
            kind: Kind::Speech,
            start: 0.5,
            end: 3.2,
            text: "one two three".into(),
            language: None,
            words: vec![],
            reason: None,
            provenance: None,
        };
        measures.transcript(&segment, at(4.0));
        let (shown, finals) = measures.percentiles();
        let near = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-6, "{value} is not {wanted}");
        near(shown[0], 0.5); // 0.5, 0.25 and 1.0 seconds late
        near(shown[1], 1.0);
        near(finals[0], 1.0);
    }
}
