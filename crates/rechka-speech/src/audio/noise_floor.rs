//! The level of what is always there: noise.
//!
//! The floor is the lowest level of the last seconds (minimum statistics, after R. Martin, "Noise power spectral
//! density estimation based on optimal smoothing and minimum statistics", 2001, with one band in place of a spectrum):
//! speech has a gap somewhere in that time, steady noise has none. Levels are taken between 200 Hz and 4 kHz, so that
//! neither mains hum nor the rumble of a car hides a voice.
use std::collections::VecDeque;

/// How many frames of 16 ms the floor remembers: 3 s.
const MEMORY: usize = 188;
/// The least floor, as mean square: -66 dB of full scale. What is less than that above digital silence is no voice.
const LEAST_POWER: f32 = 2.5e-7;

/// Tracks the noise floor of a 16 kHz stream, frame by frame.
#[derive(Default)]
pub(super) struct NoiseFloor {
    band: Band,
    /// Mean squares of the last three frames: the level is their mean, so that chance dips don't lower the floor.
    recent: VecDeque<f32>,
    frames: u64,
    /// Levels that are below all later ones, with the frame that each is from: the first is the minimum.
    minima: VecDeque<(u64, f32)>,
}

impl NoiseFloor {
    /// How far the next frame is above the floor, in dB.
    pub(super) fn margin(&mut self, frame: &[f32]) -> f32 {
        let power = self.band.mean_square(frame);
        self.recent.push_back(power);
        if self.recent.len() > 3 {
            self.recent.pop_front();
        }
        let smooth = self.recent.iter().sum::<f32>() / self.recent.len() as f32;
        while self.minima.back().is_some_and(|&(_, level)| level >= smooth) {
            self.minima.pop_back();
        }
        self.minima.push_back((self.frames, smooth));
        if self
            .minima
            .front()
            .is_some_and(|&(frame, _)| frame + MEMORY as u64 <= self.frames)
        {
            self.minima.pop_front();
        }
        self.frames += 1;
        let floor = self.minima.front().map_or(smooth, |&(_, level)| level).max(LEAST_POWER);
        10.0 * (power.max(1e-12) / floor).log10()
    }
}

/// Band-pass from 200 Hz to 4 kHz: a second-order high-pass (Butterworth, by the formulas of R. Bristow-Johnson's
/// cookbook) and a first-order low-pass.
#[derive(Default)]
struct Band {
    inputs: [f32; 2],
    outputs: [f32; 2],
    low: f32,
}

impl Band {
    fn mean_square(&mut self, frame: &[f32]) -> f32 {
        // High-pass at 200 Hz, Q = 1/sqrt(2), 16 kHz.
        const B0: f32 = 0.945_977;
        const A1: f32 = -1.889_033;
        const A2: f32 = 0.894_874;
        // Low-pass at 4 kHz: 1 - exp(-2 pi 4000 / 16000).
        const SMOOTHING: f32 = 0.792_12;
        let mut sum = 0.0;
        for &input in frame {
            let output =
                B0 * (input - 2.0 * self.inputs[0] + self.inputs[1]) - A1 * self.outputs[0] - A2 * self.outputs[1];
            self.inputs = [input, self.inputs[0]];
            self.outputs = [output, self.outputs[0]];
            self.low += SMOOTHING * (output - self.low);
            sum += self.low * self.low;
        }
        sum / frame.len() as f32
    }
}
