//! Whisper: checkpoints, forward pass, decoding.
//!
//! Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
mod attention;
mod cache;
mod config;
mod decoder;
mod decoding;
mod encoder;
mod error;
mod hub;
mod kernels;
mod layers;
mod linear;
mod mel;
mod model;
mod tokenizer;
mod weights;

pub use cache::Cache;
pub use config::Config;
pub use decoding::{AlignAtt, Context, Ended, Hypothesis, Options, Request, Task, Transcriber};
pub(crate) use decoding::{language_name, writes_spaces};
pub use error::WhisperError;
pub use hub::{Hub, HubError, Progress, Token};
pub use mel::{HOP, Mel, SAMPLE_RATE};
pub use model::{Encoded, Lane, Model, Precision, Step};
pub use tokenizer::Tokenizer;
