//! Resampling to 16 kHz that can be taken up again, bit for bit, at any sample.
//!
//! After a crash a session re-reads its audio from the log and must see the very samples that it saw before, or its
//! text would differ. So the input is cut into blocks of a fixed number of frames at *absolute* frame numbers, however
//! the caller chunks it, and each block goes through rubato's FFT resampler, whose output for a block depends on that
//! block and the one before, and on nothing else:
//!
//! ```text
//! input   |  block 0  |  block 1  |  block 2  |  block 3  |       rate / g · k frames each
//! output  | 0,  delay | 0 and 1   | 1 and 2   | 2 and 3   |      16000 / g · k samples each
//!                      to resume at a sample here: ^  feed from block 1, discard its own output
//! ```
//!
//! `g` is the greatest common divisor of the rates, so block borders fall on whole samples of both clocks and the
//! ratio is exact for ever. The filter delays by half a block; its first samples are dropped, so that output
//! sample `n` is what sounded at `n / 16000` seconds (half an input frame later where a block has an odd number of
//! frames, as at 11,025 and 22,050 Hz: the middle of the filter must fall on a frame). Blocks last 20 to 40 ms at every rate that people use; a rate
//! that shares no divisor of 25 or more with 16,000 (44,056 Hz, say) costs a longer block, up to a second.
use super::AudioError;
use super::SAMPLE_RATE;
use super::pcm::RATES;
use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// The least a block lasts, in output samples: 20 ms.
const LEAST_BLOCK_SAMPLES: u64 = 320;
/// The least a block lasts, in input frames, for a filter long enough to cut sharply at very low rates.
const LEAST_BLOCK_FRAMES: u64 = 128;

/// Mono samples at any rate to 16 kHz: streaming, exact in time, and resumable bit for bit.
///
/// The bits are those of one machine: another processor's FFT may round otherwise.
pub struct Resampler {
    geometry: Geometry,
    /// None when the rate is 16 kHz already.
    blocks: Option<Blocks>,
    /// Frames that were fed, counted from the start of the stream.
    fed_frames: u64,
    /// The next output sample, counted from the start of the stream.
    next_sample: u64,
}

/// The filter and the block that fills.
struct Blocks {
    fft: Fft<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Output samples still to drop: the filter's delay, and the warm-up after a resume.
    drop_samples: u64,
}

impl Resampler {
    /// A resampler at the start of a stream of `rate` Hz, 1,000 to 384,000.
    pub fn new(rate: u32) -> Result<Self, AudioError> {
        Self::resume(rate, 0)
    }

    /// A resampler whose first output is sample `output_sample` of the stream. It must be fed from frame
    /// [`Resampler::restart_frame`] on, which is its [`Resampler::next_frame`].
    pub fn resume(rate: u32, output_sample: u64) -> Result<Self, AudioError> {
        let geometry = Geometry::new(rate)?;
        let mut resampler = Resampler {
            geometry,
            blocks: None,
            fed_frames: geometry.restart_frame(output_sample),
            next_sample: output_sample,
        };
        if rate != SAMPLE_RATE {
            let fft = Fft::new(
                rate as usize,
                SAMPLE_RATE as usize,
                geometry.block_frames as usize,
                1,
                FixedSync::Both,
            )
            .map_err(|_| AudioError::Rate(rate))?;
            debug_assert_eq!(fft.input_frames_next() as u64, geometry.block_frames);
            debug_assert_eq!(fft.output_frames_next() as u64, geometry.block_samples);
            debug_assert_eq!(fft.output_delay() as u64, geometry.delay());
            let first_block = resampler.fed_frames / geometry.block_frames;
            resampler.blocks = Some(Blocks {
                input: Vec::with_capacity(geometry.block_frames as usize),
                output: vec![0.0; geometry.block_samples as usize],
                drop_samples: output_sample + geometry.delay() - first_block * geometry.block_samples,
                fft,
            });
        }
        Ok(resampler)
    }

    /// The input frame from which a stream of `rate` Hz must be read again, so that all its output from
    /// `output_sample` on is what it was.
    pub fn restart_frame(rate: u32, output_sample: u64) -> Result<u64, AudioError> {
        Ok(Geometry::new(rate)?.restart_frame(output_sample))
    }

    /// The input frame that is to be fed next, counted from the start of the stream.
    pub fn next_frame(&self) -> u64 {
        self.fed_frames
    }

    /// The output sample that comes next, counted from the start of the stream.
    pub fn next_sample(&self) -> u64 {
        self.next_sample
    }

    /// Appends to `output` what `mono` completes.
    pub fn push(&mut self, mut mono: &[f32], output: &mut Vec<f32>) {
        self.fed_frames += mono.len() as u64;
        let before = output.len();
        match &mut self.blocks {
            None => output.extend_from_slice(mono),
            Some(blocks) => {
                let block_frames = self.geometry.block_frames as usize;
                while !mono.is_empty() {
                    let (fill, rest) = mono.split_at(mono.len().min(block_frames - blocks.input.len()));
                    blocks.input.extend_from_slice(fill);
                    mono = rest;
                    if blocks.input.len() == block_frames {
                        blocks.process(output);
                    }
                }
            }
        }
        self.next_sample += (output.len() - before) as u64;
    }

    /// Ends the stream: appends what is still in the filter, so that the whole stream has
    /// `round(frames · 16000 / rate)` samples.
    pub fn finish(mut self, output: &mut Vec<f32>) {
        let Some(blocks) = &mut self.blocks else { return };
        let missing = self
            .geometry
            .total_samples(self.fed_frames)
            .saturating_sub(self.next_sample);
        let end = output.len() + missing as usize;
        while output.len() < end {
            blocks.input.resize(self.geometry.block_frames as usize, 0.0);
            blocks.process(output);
        }
        output.truncate(end);
    }
}

impl Blocks {
    /// Filters the full block and empties it.
    #[expect(clippy::expect_used, reason = "sizes are the filter's own")]
    fn process(&mut self, output: &mut Vec<f32>) {
        let (frames, samples) = (self.input.len(), self.output.len());
        let input = InterleavedSlice::new(&self.input, 1, frames).expect("a slice holds its own length");
        let mut filtered =
            InterleavedSlice::new_mut(&mut self.output, 1, samples).expect("a slice holds its own length");
        self.fft
            .process_into_buffer(&input, &mut filtered, None)
            .expect("both blocks have the size that the filter asked for");
        let drop = self.drop_samples.min(samples as u64);
        self.drop_samples -= drop;
        output.extend_from_slice(&self.output[drop as usize..]);
        self.input.clear();
    }
}

/// Where blocks begin, on both clocks.
#[derive(Clone, Copy)]
struct Geometry {
    rate: u32,
    block_frames: u64,
    block_samples: u64,
}

impl Geometry {
    fn new(rate: u32) -> Result<Self, AudioError> {
        if !RATES.contains(&rate) {
            return Err(AudioError::Rate(rate));
        }
        let divisor = u64::from(greatest_common_divisor(rate, SAMPLE_RATE));
        let (frames, samples) = (u64::from(rate) / divisor, u64::from(SAMPLE_RATE) / divisor);
        let units = LEAST_BLOCK_SAMPLES
            .div_ceil(samples)
            .max(LEAST_BLOCK_FRAMES.div_ceil(frames));
        Ok(Geometry {
            rate,
            block_frames: frames * units,
            block_samples: samples * units,
        })
    }

    /// The filter's delay in output samples: half a block.
    fn delay(&self) -> u64 {
        if self.rate == SAMPLE_RATE {
            0
        } else {
            self.block_samples / 2
        }
    }

    fn restart_frame(&self, output_sample: u64) -> u64 {
        if self.rate == SAMPLE_RATE {
            return output_sample;
        }
        let block = (output_sample + self.delay()) / self.block_samples;
        block.saturating_sub(1) * self.block_frames
    }

    fn total_samples(&self, frames: u64) -> u64 {
        let (frames, rate) = (u128::from(frames), u128::from(self.rate));
        ((frames * u128::from(SAMPLE_RATE) + rate / 2) / rate) as u64
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMON_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

    fn sine(rate: u32, hertz: f64, seconds: f64) -> Vec<f32> {
        let step = std::f64::consts::TAU * hertz / f64::from(rate);
        (0..(f64::from(rate) * seconds) as usize)
            .map(|n| (0.5 * (step * n as f64).sin()) as f32)
            .collect()
    }

    /// A sound in which every sample is unlike its neighbours.
    fn noise(frames: usize) -> Vec<f32> {
        let mut state = 1_u32;
        (0..frames)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state as f32 / 2_147_483_648.0 - 1.0
            })
            .collect()
    }

    fn resample(rate: u32, mono: &[f32]) -> Vec<f32> {
        let (mut resampler, mut output) = (Resampler::new(rate).unwrap(), Vec::new());
        resampler.push(mono, &mut output);
        resampler.finish(&mut output);
        output
    }

    fn bits(samples: &[f32]) -> Vec<u32> {
        samples.iter().map(|sample| sample.to_bits()).collect()
    }

    #[test]
    fn a_sine_keeps_its_frequency_amplitude_and_place_in_time() {
        for rate in COMMON_RATES
            .into_iter()
            .chain([1_000, 4_000, 96_000, 192_000, 384_000, 44_056, 16_001])
        {
            let hertz = f64::from(rate.min(16_000)) * 0.11;
            let output = resample(rate, &sine(rate, hertz, 2.0));
            let odd = Geometry::new(rate).unwrap().block_frames % 2;
            let step = std::f64::consts::TAU * hertz;
            let ideal: Vec<f32> = (0..2 * SAMPLE_RATE)
                .map(|n| f64::from(n) / f64::from(SAMPLE_RATE) + 0.5 * odd as f64 / f64::from(rate))
                .map(|seconds| (0.5 * (step * seconds).sin()) as f32)
                .collect();
            assert_eq!(output.len(), ideal.len(), "{rate} Hz");
            // The ends of the tone are cut hard and ring; a tenth of a second in there is only the tone.
            let ringing = if rate < 4_000 { 6_000 } else { 1_600 };
            let middle = ringing..ideal.len() - ringing;
            let worst = middle.map(|n| (output[n] - ideal[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{rate} Hz: off by {worst}");
        }
    }

    #[test]
    fn what_16_khz_can_not_hold_is_filtered_out() {
        let output = resample(48_000, &sine(48_000, 9_000.0, 1.0));
        let loudest = output[1_600..14_400]
            .iter()
            .fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
        assert!(loudest < 1e-3, "{loudest}");
    }

    #[test]
    fn sixteen_kilohertz_passes_through_unchanged() {
        let mono = noise(1_000);
        assert_eq!(bits(&resample(16_000, &mono)), bits(&mono));
        assert_eq!(Resampler::restart_frame(16_000, 777).unwrap(), 777);
    }

    #[test]
    fn blocks_of_common_rates_last_20_to_40_milliseconds() {
        for rate in COMMON_RATES {
            let geometry = Geometry::new(rate).unwrap();
            assert!(
                (320..=640).contains(&geometry.block_samples),
                "{rate}: {}",
                geometry.block_samples
            );
            assert_eq!(geometry.block_frames * 16_000, geometry.block_samples * u64::from(rate));
        }
    }

    #[test]
    fn a_rate_out_of_range_is_refused() {
        for rate in [0, 999, 384_001, u32::MAX] {
            assert!(Resampler::new(rate).is_err(), "{rate}");
            assert!(Resampler::restart_frame(rate, 0).is_err(), "{rate}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_output_does_not_depend_on_how_the_input_is_chunked(
            rate in prop::sample::select(&COMMON_RATES[..]),
            frames in 0_usize..20_000,
            sizes in prop::collection::vec(1_usize..3_000, 1..10),
        ) {
            let mono = noise(frames);
            let whole = resample(rate, &mono);
            let exact = frames as f64 * 16_000.0 / f64::from(rate);
            prop_assert!((whole.len() as f64 - exact).abs() <= 0.5);
            let (mut resampler, mut output) = (Resampler::new(rate).unwrap(), Vec::new());
            let (mut rest, mut sizes) = (&mono[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                resampler.push(chunk, &mut output);
                prop_assert_eq!(resampler.next_sample(), output.len() as u64);
                rest = after;
            }
            resampler.finish(&mut output);
            prop_assert_eq!(bits(&whole), bits(&output));
        }

        #[test]
        fn a_resumed_stream_gives_the_same_bits_from_the_asked_sample_on(
            rate in prop::sample::select(&COMMON_RATES[..]),
            frames in 1_usize..40_000,
            place in 0.0_f64..1.0,
        ) {
            let mono = noise(frames);
            let whole = resample(rate, &mono);
            let from = (whole.len() as f64 * place) as usize;
            let mut resampler = Resampler::resume(rate, from as u64).unwrap();
            let restart = Resampler::restart_frame(rate, from as u64).unwrap();
            prop_assert_eq!(resampler.next_frame(), restart);
            prop_assert_eq!(resampler.next_sample(), from as u64);
            let mut output = Vec::new();
            resampler.push(&mono[restart as usize..], &mut output);
            resampler.finish(&mut output);
            prop_assert_eq!(bits(&whole[from..]), bits(&output));
        }
    }
}
