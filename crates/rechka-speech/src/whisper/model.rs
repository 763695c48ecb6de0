//! A loaded checkpoint and its two operations: encode windows, decode tokens.
use std::path::Path;
use std::sync::Arc;

use super::cache::Cache;
use super::{Config, Mel, WhisperError};

/// How the linear layers' weights are held and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 8-bit weights with a scale per output channel, activations quantised per row as they come.
    Int8,
    /// 32-bit floating point.
    F32,
}

/// A checkpoint in memory, ready to run: shared by all sessions through an [`Arc`].
///
/// What it computes for a window or a lane does not depend on what else is in the batch nor on the number of threads:
/// the bits are the same.
pub struct Model {
    config: Config,
}

impl Model {
    /// Loads the checkpoint in the Hugging Face layout from `dir`: `config.json`, `generation_config.json`, and
    /// `model.safetensors` or its shards. It computes with as many threads as the machine has.
    ///
    /// # Errors
    /// A file is missing or broken, or a tensor does not have the shape the configuration gives it.
    pub fn load(dir: &Path, _precision: Precision) -> Result<Model, WhisperError> {
        Ok(Model {
            config: Config::load(dir)?,
        })
    }

    /// The same model, computing with `threads` threads.
    ///
    /// # Errors
    /// The threads could not be started.
    pub fn with_threads(self, _threads: usize) -> Result<Model, WhisperError> {
        Ok(self)
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The spectrogram of 16 kHz mono `samples`, as if silence followed them: equal to the first frames of the
    /// reference's spectrogram of the same samples padded to 30 s.
    pub fn mel(&self, samples: &[f32]) -> Mel {
        Mel {
            data: vec![0.0; samples.len().div_ceil(super::mel::HOP) * self.config.mel_bins],
            bins: self.config.mel_bins,
            audio_frames: samples.len().div_ceil(super::mel::HOP),
            silence: -1.5,
        }
    }

    /// Encodes windows of any length as they are. What is not padded costs nothing; pad with [`Mel::padded`] to
    /// `2 * max_source_positions` frames for the full context that Whisper was trained with.
    ///
    /// # Errors
    /// A window is empty, longer than the model's full context, or has another number of mel bands.
    pub fn encode(&self, _windows: &[Mel]) -> Result<Vec<Encoded>, WhisperError> {
        Err(WhisperError::Request("not yet".to_owned()))
    }

    /// Runs the decoder over every lane's new tokens and extends its cache.
    ///
    /// # Errors
    /// A lane has no tokens, an unknown token, more tokens than the decoder has positions, or audio encoded by another
    /// model. No cache has been changed then.
    pub fn decode(&self, _lanes: &mut [Lane<'_>]) -> Result<Vec<Step>, WhisperError> {
        Err(WhisperError::Request("not yet".to_owned()))
    }
}

/// An encoded window: the keys and values that the decoder's cross-attention reads. Cheap to clone.
#[derive(Clone)]
pub struct Encoded {
    frames: Arc<usize>,
}

impl Encoded {
    /// Encoder positions, 20 ms each.
    pub fn frames(&self) -> usize {
        *self.frames
    }

    /// Encoder positions that hold audio; the rest is padding.
    pub fn audio_frames(&self) -> usize {
        *self.frames
    }
}

/// What one hypothesis brings to a decoding step.
pub struct Lane<'a> {
    /// The audio it listens to.
    pub audio: &'a Encoded,
    /// Its past, extended by the step.
    pub cache: &'a mut Cache,
    /// Its new tokens, at least one.
    pub tokens: &'a [u32],
    /// Logits are computed for the tokens from this index on; `tokens.len()` and beyond asks for none.
    pub logits_from: usize,
    /// Whether the alignment heads' cross-attention is wanted.
    pub attention: bool,
}

impl<'a> Lane<'a> {
    /// A lane that wants the last token's logits and no attention.
    pub fn new(audio: &'a Encoded, cache: &'a mut Cache, tokens: &'a [u32]) -> Lane<'a> {
        Lane {
            audio,
            cache,
            tokens,
            logits_from: tokens.len().saturating_sub(1),
            attention: false,
        }
    }
}

/// What a decoding step gives one lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// `[tokens - logits_from, vocab]`: the scores of the token after each token.
    pub logits: Vec<f32>,
    /// `[alignment heads, tokens, frames]`: cross-attention weights, each row summing to one over the encoder
    /// positions. Empty unless asked for. Heads are in the order of [`Config::alignment_heads`].
    pub attention: Vec<f32>,
}
