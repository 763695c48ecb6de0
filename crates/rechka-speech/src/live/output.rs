//! What a session says.
use std::ops::Range;

use crate::transcript::Word;

/// What a session says. Ranges are samples of the session; those of the segments follow each other without gap.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The open segment as it is understood now; the next output supersedes it.
    Partial {
        /// The segment that this will become.
        segment: u64,
        /// From the segment's start to what was heard.
        range: Range<u64>,
        /// The words that will not change any more.
        committed: String,
        /// What follows them, and may still change.
        tentative: String,
    },
    /// A segment that will not change any more.
    Segment {
        /// Its number in the session, from 0.
        segment: u64,
        /// Its samples.
        range: Range<u64>,
        /// What it is.
        content: Content,
    },
    /// The session is complete.
    End {
        /// The number after the last segment's.
        segment: u64,
        /// The session's length in samples.
        samples: u64,
    },
}

/// What a stretch of audio turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Speech.
    Speech {
        /// The text.
        text: String,
        /// The language's code.
        language: String,
        /// The words, with times in seconds of the session.
        words: Vec<Word>,
    },
    /// No speech.
    Silence,
    /// Not recognised.
    Failed {
        /// Why.
        reason: String,
    },
}
