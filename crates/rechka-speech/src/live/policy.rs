//! Which words become final while one still speaks.
//!
//! A policy turns the hypotheses for a growing buffer into *committed* words, which only ever grow at their end, and
//! *tentative* ones, which the next hypothesis may change.
//!
//! - **LocalAgreement-2** (Liu et al. 2020; Macháček et al., "Turning Whisper into real-time transcription system", 2023,
//!   §2.2): the buffer is decoded anew at every tick; what two hypotheses in a row agree on is committed.
//! - **AlignAtt** (Papi et al. 2023; Macháček and Polák 2025): the decoder itself stops where its attention comes near the
//!   end of the audio, and goes on from there at the next tick; all it says is committed.
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::words::{key, same};
use crate::transcript::Word;

/// When words become final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// What two hypotheses in a row agree on is final. Right for every model.
    #[default]
    LocalAgreement,
    /// What the model says before its attention reaches the end of the audio is final. One decode per tick with no
    /// repetition; its accuracy varies by model.
    AlignAtt,
}

/// Committed words are compared with new ones in groups of one to this many.
const LONGEST_OVERLAP: usize = 5;
/// A new word may start this long before the end of the last committed word, in seconds.
const TOLERANCE: f64 = 0.1;
/// A new word that starts within this many seconds of the last committed word may be that word again.
const NEAR: f64 = 1.0;

/// No word that is said anew is shorter, in seconds; what is left of one behind a cut may be.
const SHORTEST_WORD: f64 = 0.2;

/// The words of the open segment: of the audio from the buffer's start on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenWords {
    /// Final, in order.
    committed: Vec<Word>,
    /// The previous hypothesis after the committed words (H).
    tentative: Vec<Word>,
    /// The last committed words before the buffer's start, when speech went on across it.
    before: Vec<Word>,
}

/// A hypothesis with times in the session.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub words: Vec<Word>,
    /// Ends of the decoder's segments.
    pub segment_ends: Vec<f64>,
}

impl OpenWords {
    pub fn committed(&self) -> &[Word] {
        &self.committed
    }

    pub fn tentative(&self) -> &[Word] {
        &self.tentative
    }

    /// Takes a hypothesis for the buffer (AlignAtt: for what follows the committed words). With `last` nothing follows, and
    /// all of it is committed.
    pub fn update(&mut self, policy: Policy, heard: &Heard, last: bool) {
        let fresh = match policy {
            // The committed words were given to the decoder, which went on from there.
            Policy::AlignAtt if !self.committed.is_empty() => &heard.words,
            _ => self.fresh(&heard.words),
        };
        let agreed = match policy {
            _ if last => fresh.len(),
            Policy::AlignAtt => fresh.len(),
            Policy::LocalAgreement => agreement(&self.tentative, fresh),
        };
        self.tentative = fresh[agreed..].to_vec();
        // Hypotheses differ in their times; committed words never go back.
        let mut earliest = self
            .before
            .iter()
            .chain(&self.committed)
            .next_back()
            .map_or(0.0, |word| word.start);
        for word in &fresh[..agreed] {
            let start = word.start.max(earliest);
            earliest = start;
            self.committed.push(Word {
                start,
                end: word.end.max(start),
                ..word.clone()
            });
        }
    }

    /// The words of a hypothesis that follow the committed ones.
    ///
    /// A hypothesis that repeats the buffer's committed words in full shows by itself where they end. Otherwise times
    /// decide; and where they leave the last committed words in doubt, the words do (n-grams of one to five): the same
    /// words again are the same sound heard again, unless there was time to say them twice.
    fn fresh<'a>(&self, words: &'a [Word]) -> &'a [Word] {
        let repeats = |(mine, new): (&Word, &Word)| same(mine, new);
        if !self.committed.is_empty()
            && words.len() >= self.committed.len()
            && self.committed.iter().zip(words).all(repeats)
        {
            return &words[self.committed.len()..];
        }
        let known: Vec<&Word> = self.before.iter().chain(&self.committed).collect();
        let Some(last) = known.last() else { return words };
        let dropped = words
            .iter()
            .take_while(|word| word.start < last.end - TOLERANCE)
            .count();
        let (old, new) = words.split_at(dropped);
        let accounted = old.last().is_some_and(|word| same(word, last));
        if accounted || new.first().is_none_or(|first| (first.start - last.end).abs() >= NEAR) {
            return new;
        }
        let again = (1..=LONGEST_OVERLAP.min(known.len()).min(new.len())).find(|&n| {
            let mine = &known[known.len() - n..];
            let time_to_say_them = last.end - mine[0].start;
            let time_since = new[n - 1].end - last.end;
            time_since < (time_to_say_them / 2.0).min(SHORTEST_WORD)
                && mine.iter().zip(new).all(|(mine, new)| same(mine, new))
        });
        &new[again.unwrap_or(0)..]
    }

    /// Where to cut a buffer of `buffer` seconds in the session so that at most `keep` seconds remain: the last end
    /// of a decoder's segment that is committed; or the last committed word; or half, between words if possible.
    pub fn cut_point(&self, buffer: Range<f64>, keep: f64, heard: &Heard) -> f64 {
        let fits = |&end: &f64| end > buffer.start && end < buffer.end && buffer.end - end <= keep;
        let committed_end = self.committed.last().map(|word| word.end);
        let segment_end = committed_end
            .and_then(|last| heard.segment_ends.iter().copied().rfind(|&end| end <= last))
            .filter(fits);
        let half = (buffer.start + buffer.end) / 2.0;
        let half = half.max(buffer.end - keep);
        let word_end = || {
            let mut ends = self.committed.iter().chain(&self.tentative).map(|word| word.end);
            ends.rfind(|&end| end <= half).filter(fits)
        };
        segment_end
            .or_else(|| committed_end.filter(fits))
            .or_else(word_end)
            .unwrap_or(half)
    }

    /// Ends the buffer at `at` seconds: gives the words before, which are final by that, and keeps the others.
    pub fn cut(&mut self, at: f64) -> Vec<Word> {
        let middle = |word: &Word| (word.start + word.end) / 2.0;
        let final_ones = self.committed.iter().take_while(|word| middle(word) <= at).count();
        let mut done: Vec<Word> = self.committed.drain(..final_ones).collect();
        if self.committed.is_empty() {
            let passed = self.tentative.iter().take_while(|word| middle(word) < at).count();
            done.extend(self.tentative.drain(..passed));
        }
        self.before.extend_from_slice(&done);
        self.before.drain(..self.before.len().saturating_sub(LONGEST_OVERLAP));
        done
    }

    /// Ends the segment: all its words.
    pub fn finish(mut self) -> Vec<Word> {
        self.committed.append(&mut self.tentative);
        self.committed
    }
}

/// How many words two hypotheses have in common at their beginning.
fn agreement(one: &[Word], other: &[Word]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| key(a) == key(b)).count()
}

#[cfg(test)]
mod tests;
