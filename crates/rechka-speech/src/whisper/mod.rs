//! Whisper: checkpoints, forward pass, decoding.
//!
//! Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
mod cache;
mod config;
mod decoding;
mod error;
mod hub;
mod mel;
mod model;
mod tokenizer;

pub use cache::Cache;
pub use config::Config;
pub use decoding::{AlignAtt, Context, Ended, Hypothesis, Options, Request, Task, Transcriber};
pub use error::WhisperError;
pub use hub::{Hub, HubError, Progress, Token};
pub use mel::{HOP, Mel, SAMPLE_RATE};
pub use model::{Encoded, Lane, Model, Precision, Step};
pub use tokenizer::Tokenizer;
