//! Audio in: any file or raw stream to 16 kHz mono, and voice activity.
//!
//! Everything behind this module counts time in samples of [`SAMPLE_RATE`]: sample `n` is what sounded `n / 16000`
//! seconds after the start, whatever the rate, the encoding and the delay of the filters in between.
mod decode;
mod error;
mod noise_floor;
mod opus;
mod pcm;
mod resample;
mod stream;
mod vad;
mod wav;

pub use decode::AudioFile;
pub use error::AudioError;
pub use pcm::{Encoding, MonoDecoder, PcmFormat};
pub use resample::Resampler;
pub use stream::PcmStream;
pub use vad::{Vad, VadEvent, VadOptions};
pub use wav::encode_wav;

/// Samples per second of everything that recognition sees.
pub const SAMPLE_RATE: u32 = 16_000;
