//! What can be wrong with audio, and what to do about it.
use super::pcm::{MAXIMUM_CHANNELS, RATES};

/// What can be wrong with audio that came from outside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// A name that stands for no raw encoding.
    #[error("unknown encoding {0:?}; known are pcm_s16le, pcm_s24le, pcm_f32le, mulaw and alaw")]
    UnknownEncoding(String),
    /// A sample rate out of the range that is handled.
    #[error("a sample rate of {0} Hz is out of range; give one from {min} to {max} Hz", min = RATES.start(), max = RATES.end())]
    Rate(u32),
    /// A channel count out of the range that is handled.
    #[error("{0} channels are out of range; give 1 to {MAXIMUM_CHANNELS}")]
    Channels(u16),
}
