//! What can be wrong with audio, and what to do about it.
use super::pcm::{MAXIMUM_CHANNELS, RATES};
use std::path::PathBuf;

/// What can be wrong with audio that came from outside. Each says its cause itself.
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
    /// A file that can't be opened.
    #[error("can't open {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// What was given is no audio file.
    #[error(
        "this is no audio file; known are WAV, FLAC, MP3, AAC, M4A, Ogg (Vorbis, Opus) and WebM or Matroska; \
         convert others with `ffmpeg -i FILE out.flac`"
    )]
    NotAudio,
    /// A file of a known format without audio, such as a silent film.
    #[error("the file has no audio track")]
    NoAudioTrack,
    /// A codec that can't be decoded.
    #[error("the audio is coded with {0}, which can't be decoded; convert it with `ffmpeg -i FILE out.flac`")]
    UnknownCodec(String),
    /// A file of a known format that contradicts it.
    #[error("the file is damaged and can't be read: {0}")]
    Unreadable(String),
    /// A damaged place; what follows is read on.
    #[error("damaged at {at:.2} s: {reason}")]
    Broken {
        /// Seconds from the start.
        at: f64,
        /// What the decoder says.
        reason: String,
    },
    /// A file that ends too early.
    #[error("cut off at {at:.2} s{}", duration.map(|seconds| format!(" of {seconds:.2} s")).unwrap_or_default())]
    CutOff {
        /// Seconds from the start.
        at: f64,
        /// The length in seconds that the file claims.
        duration: Option<f64>,
    },
    /// Reading failed on the way.
    #[error("reading failed at {at:.2} s: {cause}")]
    Read {
        /// Seconds from the start.
        at: f64,
        /// What the system says.
        cause: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::{error::Error, iter};

    use crate::{audio::AudioFile, whisper::WhisperError};

    #[test]
    fn an_error_says_its_cause_once() {
        let cause = "No such file";
        let audio = AudioFile::open("missing.wav").err().unwrap();
        let checkpoint = WhisperError::read("config.json".as_ref(), std::io::Error::other(cause));
        for error in [&audio as &dyn Error, &checkpoint] {
            let chain = iter::successors(Some(error), |error| (*error).source());
            let said = chain.map(|error| error.to_string()).collect::<Vec<_>>().join(": ");
            assert_eq!(said.matches(cause).count(), 1, "{said}");
        }
    }
}
