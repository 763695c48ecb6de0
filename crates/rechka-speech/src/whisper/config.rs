//! A checkpoint's configuration: `config.json`, `generation_config.json` and `preprocessor_config.json` as one.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::WhisperError;

/// The shapes, special tokens and generation settings of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Mel bands per frame: 80, or 128 from large-v3 on.
    pub mel_bins: usize,
    /// Width of the model.
    pub d_model: usize,
    /// Number of encoder layers.
    pub encoder_layers: usize,
    /// Attention heads in each encoder layer.
    pub encoder_heads: usize,
    /// Width inside each encoder layer's feed-forward network.
    pub encoder_ffn: usize,
    /// Number of decoder layers.
    pub decoder_layers: usize,
    /// Attention heads in each decoder layer.
    pub decoder_heads: usize,
    /// Width inside each decoder layer's feed-forward network.
    pub decoder_ffn: usize,
    /// Number of tokens, timestamps included.
    pub vocab_size: usize,
    /// Encoder positions of a full window, 20 ms each: 1500 for 30 s.
    pub max_source_positions: usize,
    /// Tokens that fit the decoder, the prompt included: 448.
    pub max_target_positions: usize,
    /// Whether decoder embeddings are multiplied by the square root of the width.
    pub scale_embedding: bool,
    /// Start of transcript.
    pub start_of_transcript: u32,
    /// End of text; also the first special token in every published vocabulary.
    pub end_of_text: u32,
    /// Start of the previous text, when the vocabulary has it.
    pub start_of_previous: Option<u32>,
    /// The token that asks for text without timestamps; `no_speech` is the one before, timestamps start after it.
    pub no_timestamps: Option<u32>,
    /// Language tokens by their code (`en`); empty for English-only models.
    pub languages: BTreeMap<String, u32>,
    /// The token that asks for a transcript; none for English-only models.
    pub transcribe: Option<u32>,
    /// The token that asks for a translation into English.
    pub translate: Option<u32>,
    /// Tokens that are never sampled.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that are not sampled first.
    pub begin_suppress_tokens: Vec<u32>,
    /// The largest first timestamp, in steps of 20 ms.
    pub max_initial_timestamp: Option<usize>,
    /// (layer, head) pairs whose cross-attention follows the audio; every head of the upper half of the layers when
    /// the checkpoint names none.
    pub alignment_heads: Vec<(usize, usize)>,
    /// Width of the median filter over time for word times: 7.
    pub median_filter_width: usize,
}

impl Config {
    /// Reads the configuration of the checkpoint in `dir`.
    ///
    /// # Errors
    /// `config.json` is missing, a file is not JSON, or its values are out of bounds or contradict each other.
    pub fn load(dir: &Path) -> Result<Config, WhisperError> {
        let path = dir.join("config.json");
        let model: ModelConfig =
            read_json(&path)?.ok_or_else(|| WhisperError::read(&path, std::io::ErrorKind::NotFound.into()))?;
        if model.activation_function != "gelu" {
            let reason = format!(
                "activation {:?} is unknown, needed is \"gelu\"",
                model.activation_function
            );
            return Err(WhisperError::invalid(&path, reason));
        }
        let generation = dir.join("generation_config.json");
        let generation: GenerationConfig = read_json(&generation)?.unwrap_or_default();
        let preprocessor_path = dir.join("preprocessor_config.json");
        if let Some(preprocessor) = read_json::<PreprocessorConfig>(&preprocessor_path)? {
            preprocessor
                .check(&model)
                .map_err(|reason| WhisperError::invalid(&preprocessor_path, reason))?;
        }
        let config = Config::from_parts(model, generation);
        config.check().map_err(|reason| WhisperError::invalid(&path, reason))?;
        Ok(config)
    }

    /// The token that the first decoding step gives the probability of silence, when the vocabulary has one.
    pub fn no_speech(&self) -> Option<u32> {
        self.no_timestamps.and_then(|token| token.checked_sub(1))
    }

    /// The token of 0.00 s; one token per 20 ms follows.
    pub fn timestamp_begin(&self) -> Option<u32> {
        self.no_timestamps.map(|token| token + 1)
    }

    /// Whether the model knows languages and tasks.
    pub fn is_multilingual(&self) -> bool {
        !self.languages.is_empty()
    }

    fn from_parts(model: ModelConfig, generation: GenerationConfig) -> Config {
        let languages = generation
            .lang_to_id
            .unwrap_or_default()
            .into_iter()
            .map(|(code, id)| {
                let code = code.trim_start_matches("<|").trim_end_matches("|>");
                (code.to_owned(), id)
            })
            .collect();
        let tasks = generation.task_to_id.unwrap_or_default();
        let alignment_heads = generation.alignment_heads.unwrap_or_else(|| {
            let heads = model.decoder_attention_heads;
            (model.decoder_layers / 2..model.decoder_layers)
                .flat_map(|layer| (0..heads).map(move |head| (layer, head)))
                .collect()
        });
        Config {
            mel_bins: model.num_mel_bins,
            d_model: model.d_model,
            encoder_layers: model.encoder_layers,
            encoder_heads: model.encoder_attention_heads,
            encoder_ffn: model.encoder_ffn_dim,
            decoder_layers: model.decoder_layers,
            decoder_heads: model.decoder_attention_heads,
            decoder_ffn: model.decoder_ffn_dim,
            vocab_size: model.vocab_size,
            max_source_positions: model.max_source_positions,
            max_target_positions: model.max_target_positions,
            scale_embedding: model.scale_embedding,
            start_of_transcript: generation
                .decoder_start_token_id
                .unwrap_or(model.decoder_start_token_id),
            end_of_text: generation.eos_token_id.unwrap_or(model.eos_token_id),
            start_of_previous: generation.prev_sot_token_id,
            no_timestamps: generation.no_timestamps_token_id,
            languages,
            transcribe: tasks.get("transcribe").copied(),
            translate: tasks.get("translate").copied(),
            suppress_tokens: tokens(generation.suppress_tokens.or(model.suppress_tokens)),
            begin_suppress_tokens: tokens(generation.begin_suppress_tokens.or(model.begin_suppress_tokens)),
            max_initial_timestamp: generation.max_initial_timestamp_index,
            alignment_heads,
            median_filter_width: model.median_filter_width,
        }
    }

    /// Bounds that keep a hostile file from asking for absurd amounts of memory, several times beyond any published
    /// model.
    fn check(&self) -> Result<(), String> {
        let bounded = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}, not between 1 and {most}"))
            }
        };
        bounded("num_mel_bins", self.mel_bins, 512)?;
        bounded("d_model", self.d_model, 8192)?;
        bounded("encoder_layers", self.encoder_layers, 128)?;
        bounded("decoder_layers", self.decoder_layers, 128)?;
        bounded("encoder_attention_heads", self.encoder_heads, 128)?;
        bounded("decoder_attention_heads", self.decoder_heads, 128)?;
        bounded("encoder_ffn_dim", self.encoder_ffn, 65_536)?;
        bounded("decoder_ffn_dim", self.decoder_ffn, 65_536)?;
        bounded("vocab_size", self.vocab_size, 1_000_000)?;
        bounded("max_source_positions", self.max_source_positions, 15_000)?;
        bounded("max_target_positions", self.max_target_positions, 8192)?;
        bounded("median_filter_width", self.median_filter_width, 99)?;
        for heads in [self.encoder_heads, self.decoder_heads] {
            if !self.d_model.is_multiple_of(heads) {
                return Err(format!(
                    "d_model {} is not a multiple of its {heads} attention heads",
                    self.d_model
                ));
            }
        }
        let specials = [Some(self.start_of_transcript), Some(self.end_of_text)]
            .into_iter()
            .chain([self.start_of_previous, self.no_timestamps])
            .chain([self.transcribe, self.translate])
            .flatten()
            .chain(self.languages.values().copied());
        for token in specials {
            if token as usize >= self.vocab_size {
                return Err(format!(
                    "special token {token} is outside the vocabulary of {}",
                    self.vocab_size
                ));
            }
        }
        for &(layer, head) in &self.alignment_heads {
            if layer >= self.decoder_layers || head >= self.decoder_heads {
                return Err(format!(
                    "alignment head [{layer}, {head}] does not exist in {} layers of {} heads",
                    self.decoder_layers, self.decoder_heads
                ));
            }
        }
        Ok(())
    }
}

/// Token lists sometimes hold -1 for "the tokenizer's non-speech tokens"; only real ids are kept.
fn tokens(ids: Option<Vec<i64>>) -> Vec<u32> {
    ids.unwrap_or_default()
        .into_iter()
        .filter_map(|id| u32::try_from(id).ok())
        .collect()
}

/// Reads a JSON file; `None` when it does not exist.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, WhisperError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(WhisperError::read(path, error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| WhisperError::invalid(path, error))
}

#[derive(Deserialize)]
struct ModelConfig {
    #[serde(default = "default_mel_bins")]
    num_mel_bins: usize,
    d_model: usize,
    encoder_layers: usize,
    encoder_attention_heads: usize,
    encoder_ffn_dim: usize,
    decoder_layers: usize,
    decoder_attention_heads: usize,
    decoder_ffn_dim: usize,
    vocab_size: usize,
    #[serde(default = "default_source_positions")]
    max_source_positions: usize,
    #[serde(default = "default_target_positions")]
    max_target_positions: usize,
    #[serde(default)]
    scale_embedding: bool,
    #[serde(default = "default_start")]
    decoder_start_token_id: u32,
    #[serde(default = "default_end")]
    eos_token_id: u32,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
    #[serde(default = "default_median")]
    median_filter_width: usize,
    #[serde(default = "default_activation")]
    activation_function: String,
}

#[derive(Default, Deserialize)]
struct GenerationConfig {
    decoder_start_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    prev_sot_token_id: Option<u32>,
    no_timestamps_token_id: Option<u32>,
    lang_to_id: Option<BTreeMap<String, u32>>,
    task_to_id: Option<BTreeMap<String, u32>>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
    max_initial_timestamp_index: Option<usize>,
    alignment_heads: Option<Vec<(usize, usize)>>,
}

#[derive(Deserialize)]
struct PreprocessorConfig {
    feature_size: Option<usize>,
    sampling_rate: Option<usize>,
    hop_length: Option<usize>,
    n_fft: Option<usize>,
}

impl PreprocessorConfig {
    fn check(&self, model: &ModelConfig) -> Result<(), String> {
        let expect = |name: &str, value: Option<usize>, needed: usize| match value {
            Some(value) if value != needed => Err(format!("{name} is {value}, needed is {needed}")),
            _ => Ok(()),
        };
        expect("feature_size", self.feature_size, model.num_mel_bins)?;
        expect("sampling_rate", self.sampling_rate, super::mel::SAMPLE_RATE)?;
        expect("hop_length", self.hop_length, super::mel::HOP)?;
        expect("n_fft", self.n_fft, super::mel::FFT)?;
        Ok(())
    }
}

fn default_mel_bins() -> usize {
    80
}
fn default_source_positions() -> usize {
    1500
}
fn default_target_positions() -> usize {
    448
}
fn default_start() -> u32 {
    50_257
}
fn default_end() -> u32 {
    50_256
}
fn default_median() -> usize {
    7
}
fn default_activation() -> String {
    "gelu".to_owned()
}
