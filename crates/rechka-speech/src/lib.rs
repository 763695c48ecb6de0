//! Live speech recognition with Whisper, in Rust: audio in, words with times out.
//!
//! - [`audio`]: any file or raw stream to 16 kHz mono, and voice activity;
//! - [`whisper`]: checkpoints, encoder, decoder and decoding;
//! - [`live`]: streaming policies: which words are final while one still speaks;
//! - [`text`]: subtitles, normalisation, word error.
pub mod audio;
pub mod live;
pub mod text;
mod transcript;
pub mod whisper;

pub use transcript::{Segment, Word};
