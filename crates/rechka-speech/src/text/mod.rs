//! Text out: subtitles, JSON, normalisation, word error.
mod normalise;
mod numbers;
mod subtitles;
mod transcription;
mod word_error;

pub use normalise::normalise;
pub use subtitles::Subtitles;
pub use transcription::Transcription;
pub use word_error::WordErrors;
