//! Settings of a session.
use super::Policy;
use crate::whisper::Options;

/// How a session recognises.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// When words become final.
    pub policy: Policy,
    /// Seconds of new audio between two hypotheses.
    pub min_chunk: f64,
    /// Speech longer than this many seconds is cut. At most the model's window less `min_chunk` is used.
    pub max_buffer: f64,
    /// The model's window in seconds: no request is longer.
    pub window: f64,
    /// Characters of the text said so far that are the next request's prompt; 0 for none.
    pub prompt_characters: usize,
    /// How to decode while one speaks.
    pub options: Options,
    /// How to decode a segment that is complete.
    pub last_options: Options,
}

impl Config {
    /// The usual settings for a model with a window of `window` seconds.
    pub fn new(window: f64) -> Self {
        let last_options = Options::default();
        let options = Options {
            temperatures: vec![0.0],
            ..last_options.clone()
        };
        Config {
            policy: Policy::default(),
            min_chunk: 1.0,
            max_buffer: 15.0,
            window,
            prompt_characters: 200,
            options,
            last_options,
        }
    }

    /// Samples between two hypotheses, at least 0.1 s.
    pub(super) fn chunk(&self) -> u64 {
        let shortest = 0.1;
        (self.min_chunk.clamp(shortest, (self.window / 2.0).max(shortest)) * 16_000.0) as u64
    }

    /// The longest buffer in samples after a cut: another chunk must still fit into the window.
    pub(super) fn bound(&self) -> u64 {
        let longest = ((self.window * 16_000.0) as u64).saturating_sub(self.chunk());
        ((self.max_buffer * 16_000.0) as u64).clamp(self.chunk(), longest.max(self.chunk()))
    }
}
