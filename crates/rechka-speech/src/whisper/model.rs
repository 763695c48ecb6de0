//! A loaded checkpoint and its operations: hear, encode, decode.
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::attention::{PANEL, PanelShape};
use super::cache::{Cache, CacheShape};
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::layers::Layers;
use super::mel::MelFilters;
use super::weights::Weights;
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
/// What it computes for a window or a lane does not depend on what else is in the batch, nor on the number of threads,
/// nor on whether tokens come at once or one by one: the bits are the same.
pub struct Model {
    config: Config,
    filters: MelFilters,
    encoder: Encoder,
    decoder: Decoder,
    threads: ThreadPool,
}

impl Model {
    /// Loads the checkpoint in the Hugging Face layout from `dir`: `config.json`, `generation_config.json`, and
    /// `model.safetensors` or its shards. It computes with as many threads as the machine has.
    ///
    /// # Errors
    /// A file is missing or broken, or a tensor does not have the shape the configuration gives it.
    pub fn load(dir: &Path, precision: Precision) -> Result<Model, WhisperError> {
        let config = Config::load(dir)?;
        let weights = Weights::open(dir)?;
        let layers = Layers {
            weights: &weights,
            precision,
            width: config.d_model,
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Model {
            filters: MelFilters::new(config.mel_bins),
            encoder: Encoder::load(&layers, &config)?,
            decoder: Decoder::load(&layers, &config)?,
            threads: pool(threads)?,
            config,
        })
    }

    /// The same model, computing with `threads` threads.
    ///
    /// # Errors
    /// The threads could not be started.
    pub fn with_threads(self, threads: usize) -> Result<Model, WhisperError> {
        Ok(Model {
            threads: pool(threads)?,
            ..self
        })
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The spectrogram of 16 kHz mono `samples`, as if silence followed them: equal to the first frames of the
    /// reference's spectrogram of the same samples padded to the full window. What is beyond a full window is not
    /// heard.
    pub fn mel(&self, samples: &[f32]) -> Mel {
        self.filters.mel(samples, self.full_window())
    }

    /// Frames of the full window that the model was trained with, 10 ms each: 3000 for 30 s.
    pub fn full_window(&self) -> usize {
        2 * self.config.max_source_positions
    }

    /// Encodes windows of any length as they are. What is not padded costs nothing; pad with [`Mel::padded`] to
    /// [`Model::full_window`] for the context that Whisper was trained with.
    ///
    /// # Errors
    /// A window is empty, longer than the full window, or has another number of mel bands.
    pub fn encode(&self, windows: &[Mel]) -> Result<Vec<Encoded>, WhisperError> {
        self.check(windows)?;
        let config = &self.config;
        let shape = CacheShape {
            layers: config.decoder_layers,
            heads: config.decoder_heads,
            panel: PanelShape {
                width: config.d_model / config.decoder_heads,
            },
        };
        Ok(self.threads.install(|| {
            let (encoded, lengths) = self.encoder.forward(windows);
            let layers = self.decoder.listen(&encoded, &lengths);
            let windows = windows.iter().zip(lengths).zip(layers);
            windows
                .map(|((mel, frames), layers)| {
                    let audio_frames = mel.audio_frames().div_ceil(2).min(frames);
                    Encoded(Arc::new(Window {
                        frames,
                        audio_frames,
                        shape,
                        layers,
                    }))
                })
                .collect()
        }))
    }

    /// The encoder's own output for one window, `[positions, d_model]`: for those who need more than text.
    ///
    /// # Errors
    /// As [`Model::encode`].
    pub fn encoder_output(&self, window: &Mel) -> Result<Vec<f32>, WhisperError> {
        let windows = std::slice::from_ref(window);
        self.check(windows)?;
        Ok(self.threads.install(|| self.encoder.forward(windows).0))
    }

    fn check(&self, windows: &[Mel]) -> Result<(), WhisperError> {
        for window in windows {
            let refuse = |reason: String| Err(WhisperError::Request(reason));
            if window.bins() != self.config.mel_bins {
                return refuse(format!(
                    "the window has {} mel bands, the model {}",
                    window.bins(),
                    self.config.mel_bins
                ));
            }
            if window.frames() == 0 || window.frames() > self.full_window() {
                return refuse(format!(
                    "the window has {} frames, not between 1 and {}",
                    window.frames(),
                    self.full_window()
                ));
            }
        }
        Ok(())
    }

    /// Runs the decoder over every lane's new tokens and extends its cache.
    ///
    /// # Errors
    /// A lane has no tokens, an unknown token, more tokens than the decoder has positions, or audio encoded by another
    /// model. No cache has been changed then.
    pub fn decode(&self, lanes: &mut [Lane<'_>]) -> Result<Vec<Step>, WhisperError> {
        self.decoder.check(lanes)?;
        Ok(self.threads.install(|| self.decoder.forward(lanes)))
    }
}

fn pool(threads: usize) -> Result<ThreadPool, WhisperError> {
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|index| format!("whisper-{index}"))
        .build()
        .map_err(|error| WhisperError::Threads {
            threads,
            reason: error.to_string(),
        })
}

/// An encoded window: the keys and values that the decoder's cross-attention reads. Cheap to clone.
#[derive(Clone)]
pub struct Encoded(Arc<Window>);

struct Window {
    frames: usize,
    audio_frames: usize,
    shape: CacheShape,
    /// Per decoder layer: every head's panels.
    layers: Vec<Vec<f32>>,
}

impl Encoded {
    /// Encoder positions, 20 ms each.
    pub fn frames(&self) -> usize {
        self.0.frames
    }

    /// Encoder positions that hold audio; the rest is padding.
    pub fn audio_frames(&self) -> usize {
        self.0.audio_frames
    }

    pub(super) fn shape(&self) -> CacheShape {
        self.0.shape
    }

    /// Whether both are the same window.
    pub(super) fn same(&self, other: &Encoded) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The panels of a head, one after the other.
    pub(super) fn panels(&self, layer: usize, head: usize) -> &[f32] {
        let len = self.0.frames.div_ceil(PANEL) * self.0.shape.panel.len();
        &self.0.layers[layer][head * len..][..len]
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
