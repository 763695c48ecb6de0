//! Log-mel spectrograms as Whisper was trained on.

/// Samples per second of the audio that the model hears.
pub const SAMPLE_RATE: usize = 16_000;
/// Samples between two mel frames: 10 ms.
pub const HOP: usize = 160;
/// Samples that one mel frame hears.
pub const FFT: usize = 400;

/// A log-mel spectrogram, normalised over its window.
#[derive(Clone, Debug, PartialEq)]
pub struct Mel {
    /// Frames one after the other, `bins` values each.
    pub(super) data: Vec<f32>,
    pub(super) bins: usize,
    pub(super) audio_frames: usize,
    /// What digital silence is after normalisation.
    pub(super) silence: f32,
}

impl Mel {
    /// Mel bands per frame.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Number of frames, 10 ms each, padding included.
    pub fn frames(&self) -> usize {
        self.data.len() / self.bins
    }

    /// Number of frames that begin within the audio: what is left without padding and the frames that only hear the
    /// last samples' end.
    pub fn audio_frames(&self) -> usize {
        self.audio_frames
    }

    /// The frames one after the other, `bins` values each.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Continues the spectrogram with silence until it has `frames` frames; a longer one stays as it is.
    pub fn padded(mut self, frames: usize) -> Mel {
        if frames > self.frames() {
            self.data.resize(frames * self.bins, self.silence);
        }
        self
    }
}
