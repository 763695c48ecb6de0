//! Headers of records in [`crate::topics::AUDIO`]. Values are ASCII.
//!
//! Every record says all of it, so that a reader may begin anywhere. A record without headers takes the stream's declared format.

/// Encoding of the samples: `pcm_s16le`, `pcm_s24le`, `pcm_f32le`, `mulaw` or `alaw`.
pub const ENCODING: &str = "encoding";
/// Sample frames per second, decimal.
pub const RATE: &str = "rate";
/// Channels, interleaved, decimal.
pub const CHANNELS: &str = "channels";
/// Number of the record's first sample frame in its session, decimal, from 0. Records of a session follow without gap or overlap.
/// In the control record [`END`]: how many frames the session has; absent: as many as came.
pub const FRAME: &str = "frame";
/// Language of the speech (`en`, …), or `auto`; absent: the recogniser's default.
pub const LANGUAGE: &str = "language";
/// `transcribe` or `translate`; absent: transcribe.
pub const TASK: &str = "task";
/// A control record has no audio. Its only value is [`END`].
pub const CONTROL: &str = "control";
/// Value of [`CONTROL`]: the session is complete.
pub const END: &str = "end";
