//! Raw bytes in a declared encoding to 16 kHz mono.
use super::{AudioError, MonoDecoder, PcmFormat, Resampler};

/// A raw stream: bytes go in, in any chunks, 16 kHz mono samples come out.
///
/// ```
/// use rechka_speech::audio::{Encoding, PcmFormat, PcmStream};
///
/// let format = PcmFormat::new(Encoding::S16Le, 8_000, 1)?;
/// let mut stream = PcmStream::new(format)?;
/// let mut samples = Vec::new();
/// stream.push(&[0; 1_600], &mut samples); // 100 ms of silence
/// stream.finish(&mut samples);
/// assert_eq!(samples.len(), 1_600);
/// # Ok::<(), rechka_speech::audio::AudioError>(())
/// ```
///
/// After a crash [`PcmStream::resume`] takes a stream up at any output sample, with the same bits as if nothing had
/// happened.
pub struct PcmStream {
    format: PcmFormat,
    decoder: MonoDecoder,
    resampler: Resampler,
    mono: Vec<f32>,
}

impl PcmStream {
    /// A stream at its first byte.
    pub fn new(format: PcmFormat) -> Result<Self, AudioError> {
        Self::resume(format, 0)
    }

    /// A stream whose first output is sample `output_sample`, and whose first input must be the first byte of frame
    /// [`PcmStream::next_frame`], counted from the start of the stream.
    pub fn resume(format: PcmFormat, output_sample: u64) -> Result<Self, AudioError> {
        Ok(PcmStream {
            format,
            decoder: MonoDecoder::new(format),
            resampler: Resampler::resume(format.rate(), output_sample)?,
            mono: Vec::new(),
        })
    }

    /// The frame from which `format`'s bytes must be read again to [`PcmStream::resume`] at `output_sample`.
    pub fn restart_frame(format: PcmFormat, output_sample: u64) -> Result<u64, AudioError> {
        Resampler::restart_frame(format.rate(), output_sample)
    }

    /// The format that was declared.
    pub fn format(&self) -> PcmFormat {
        self.format
    }

    /// The input frame that the next whole frame is, counted from the start of the stream.
    pub fn next_frame(&self) -> u64 {
        self.resampler.next_frame()
    }

    /// The output sample that comes next, counted from the start of the stream.
    pub fn next_sample(&self) -> u64 {
        self.resampler.next_sample()
    }

    /// Appends to `output` the samples that `bytes` complete.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<f32>) {
        self.mono.clear();
        self.decoder.push(bytes, &mut self.mono);
        self.resampler.push(&self.mono, output);
    }

    /// Ends the stream and appends its last samples. A frame that was cut off is left out.
    pub fn finish(self, output: &mut Vec<f32>) {
        self.resampler.finish(output);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Encoding;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn bytes_re_read_from_the_restart_frame_give_the_same_samples(
            bytes in prop::collection::vec(any::<u8>(), 1..30_000),
            rate in prop::sample::select(vec![8_000, 16_000, 44_100]),
            cut in 1_usize..700,
            place in 0.0_f64..1.0,
        ) {
            let format = PcmFormat::new(Encoding::S24Le, rate, 2).unwrap();
            let mut whole = Vec::new();
            let mut stream = PcmStream::new(format).unwrap();
            for chunk in bytes.chunks(cut) {
                stream.push(chunk, &mut whole);
            }
            stream.finish(&mut whole);

            let from = (whole.len() as f64 * place) as u64;
            let mut resumed = Vec::new();
            let mut stream = PcmStream::resume(format, from).unwrap();
            let restart = PcmStream::restart_frame(format, from).unwrap();
            prop_assert_eq!(stream.next_frame(), restart);
            stream.push(&bytes[restart as usize * format.frame_bytes()..], &mut resumed);
            stream.finish(&mut resumed);
            let bits = |samples: &[f32]| samples.iter().map(|sample| sample.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&whole[from as usize..]), bits(&resumed));
        }
    }
}
