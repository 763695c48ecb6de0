//! Log-mel spectrograms as Whisper was trained on: 25 ms Hann windows every 10 ms, Slaney mel bands, log10 with a floor
//! 8 decades below the window's loudest value.
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples per second of the audio that the model hears.
pub const SAMPLE_RATE: usize = 16_000;
/// Samples between two mel frames: 10 ms.
pub const HOP: usize = 160;
/// Samples that one mel frame hears.
pub(super) const FFT: usize = 400;

/// The smallest power that is told from silence.
const POWER_FLOOR: f32 = 1e-10;

/// A log-mel spectrogram, normalised over its window.
#[derive(Clone, Debug, PartialEq)]
pub struct Mel {
    bins: usize,
    data: Vec<f32>,
    audio_frames: usize,
    silence: f32,
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

    /// Number of frames that begin within the audio: what is left without padding and without the frames that hear
    /// only the end of the last samples.
    pub fn audio_frames(&self) -> usize {
        self.audio_frames
    }

    /// The frames one after the other, `bins` values each.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// What digital silence is in this window.
    pub fn silence(&self) -> f32 {
        self.silence
    }

    /// Continues the spectrogram with silence until it has `frames` frames; a longer one stays as it is.
    #[must_use]
    pub fn padded(mut self, frames: usize) -> Mel {
        if frames > self.frames() {
            self.data.resize(frames * self.bins, self.silence);
        }
        self
    }
}

/// Computes spectrograms with a fixed number of mel bands.
pub(super) struct MelFilters {
    bins: usize,
    bands: Vec<Band>,
    window: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
}

/// A triangular filter: weights of consecutive frequencies.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl MelFilters {
    pub(super) fn new(bins: usize) -> MelFilters {
        let window = (0..FFT)
            .map(|n| {
                let phase = std::f64::consts::TAU * n as f64 / FFT as f64;
                (0.5 - 0.5 * phase.cos()) as f32
            })
            .collect();
        MelFilters {
            bins,
            bands: slaney_bands(bins),
            window,
            fft: RealFftPlanner::new().plan_fft_forward(FFT),
        }
    }

    /// The spectrogram of `samples`, as if silence followed them, in at most `most_frames` frames.
    ///
    /// Its frames are those that hear at least one sample; the ones after them would all be [`Mel::silence`].
    #[expect(clippy::expect_used, reason = "the buffers were made for the transform")]
    pub(super) fn mel(&self, samples: &[f32], most_frames: usize) -> Mel {
        let samples = &samples[..samples.len().min(most_frames * HOP)];
        let frames = (samples.len() + FFT / 2).div_ceil(HOP).min(most_frames);
        let mut data = Vec::with_capacity(frames * self.bins);
        let mut frame = vec![0.0; FFT];
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        for index in 0..frames {
            self.windowed(samples, index, &mut frame);
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the buffers were made for this transform");
            data.extend(self.bands.iter().map(|band| band.log_power(&spectrum)));
        }
        let loudest = data.iter().copied().fold(POWER_FLOOR.log10(), f32::max);
        let normalise = |value: f32| (value.max(loudest - 8.0) + 4.0) / 4.0;
        for value in &mut data {
            *value = normalise(*value);
        }
        Mel {
            bins: self.bins,
            data,
            audio_frames: samples.len().div_ceil(HOP),
            silence: normalise(POWER_FLOOR.log10()),
        }
    }

    /// The samples around frame `index`, mirrored before the first, zero after the last, times the Hann window.
    fn windowed(&self, samples: &[f32], index: usize, frame: &mut [f32]) {
        let start = (index * HOP) as isize - (FFT / 2) as isize;
        for (n, (value, window)) in frame.iter_mut().zip(&self.window).enumerate() {
            let position = (start + n as isize).unsigned_abs();
            *value = samples.get(position).copied().unwrap_or(0.0) * window;
        }
    }
}

impl Band {
    fn log_power(&self, spectrum: &[Complex<f32>]) -> f32 {
        let frequencies = &spectrum[self.first..];
        let power: f32 = self
            .weights
            .iter()
            .zip(frequencies)
            .map(|(weight, value)| weight * value.norm_sqr())
            .sum();
        power.max(POWER_FLOOR).log10()
    }
}

/// Triangular filters of equal area, their centres evenly spaced on the Slaney mel scale from 0 to 8 kHz (Slaney,
/// "Auditory Toolbox", 1998).
fn slaney_bands(bins: usize) -> Vec<Band> {
    let nyquist = SAMPLE_RATE as f64 / 2.0;
    let top = hertz_to_mel(nyquist);
    let edges: Vec<f64> = (0..bins + 2)
        .map(|edge| mel_to_hertz(top * edge as f64 / (bins + 1) as f64))
        .collect();
    let frequencies = FFT / 2 + 1;
    edges
        .windows(3)
        .map(|edge| {
            let (low, centre, high) = (edge[0], edge[1], edge[2]);
            let weights: Vec<f32> = (0..frequencies)
                .map(|index| {
                    let frequency = index as f64 * nyquist / (frequencies - 1) as f64;
                    let rising = (frequency - low) / (centre - low);
                    let falling = (high - frequency) / (high - centre);
                    (rising.min(falling).max(0.0) * 2.0 / (high - low)) as f32
                })
                .collect();
            let first = weights.iter().position(|&weight| weight > 0.0).unwrap_or(0);
            let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
            Band {
                first,
                weights: weights[first..=last].to_vec(),
            }
        })
        .collect()
}

/// Linear up to 1 kHz, logarithmic above.
const MEL_PER_HERTZ: f64 = 3.0 / 200.0;
const BREAK_HERTZ: f64 = 1000.0;
const BREAK_MEL: f64 = BREAK_HERTZ * MEL_PER_HERTZ;

/// 27 mel for every factor of 6.4 above the break.
fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < BREAK_HERTZ {
        hertz * MEL_PER_HERTZ
    } else {
        BREAK_MEL + (hertz / BREAK_HERTZ).ln() / log_step()
    }
}

fn mel_to_hertz(mel: f64) -> f64 {
    if mel < BREAK_MEL {
        mel / MEL_PER_HERTZ
    } else {
        BREAK_HERTZ * ((mel - BREAK_MEL) * log_step()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n as f32 * 0.3).sin() * 0.5).collect()
    }

    #[test]
    fn padding_the_spectrogram_equals_padding_the_audio() {
        let filters = MelFilters::new(80);
        for samples in [1, 159, 160, 161, 4_000, 15_999] {
            let audio = tone(samples);
            let mut silence_after = audio.clone();
            silence_after.resize(32_000, 0.0);
            let short = filters.mel(&audio, 200).padded(200);
            let long = filters.mel(&silence_after, 200);
            assert_eq!(short.data(), long.data(), "{samples} samples");
        }
    }

    #[test]
    fn what_is_beyond_the_window_is_not_heard() {
        let filters = MelFilters::new(80);
        let mel = filters.mel(&tone(50_000), 100);
        assert_eq!(mel.frames(), 100);
        assert_eq!(mel.audio_frames(), 100);
    }

    #[test]
    fn silence_and_no_audio_are_all_floor() {
        let filters = MelFilters::new(128);
        let mel = filters.mel(&[0.0; 1600], 3000);
        assert!(mel.data().iter().all(|&value| value == -1.5));
        assert_eq!(filters.mel(&[], 3000).padded(10).data(), [-1.5; 1280]);
    }
}
