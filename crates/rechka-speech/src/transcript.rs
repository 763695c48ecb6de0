//! What recognition gives: words, segments, transcripts.
use serde::{Deserialize, Serialize};

/// A recognised word with its times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word as written, punctuation included, without surrounding spaces.
    pub word: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds, at or after `start`.
    pub end: f64,
    /// Probability, 0 to 1: the mean of its tokens'.
    pub probability: f32,
}

/// A stretch of speech with its text, as a decoder gives it (the fields of OpenAI's `verbose_json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The text.
    pub text: String,
    /// The text's tokens, timestamps and special tokens left out.
    pub tokens: Vec<u32>,
    /// The temperature that gave the text: 0 for greedy and beam search.
    pub temperature: f32,
    /// Mean log probability of the tokens.
    pub avg_logprob: f32,
    /// Length of the text over its zlib-compressed length; above 2.4 it repeats itself.
    pub compression_ratio: f32,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
    /// Words with times, when asked for.
    pub words: Vec<Word>,
}
