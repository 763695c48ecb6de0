//! WAV out.

/// A 16-bit mono WAV file of `samples`, cut at ±1, at `rate` Hz.
///
/// The format counts bytes in 32 bits: what lies beyond 4 GiB (37 hours at 16 kHz) is left out.
pub fn encode_wav(samples: &[f32], rate: u32) -> Vec<u8> {
    const HEADER_AFTER_SIZE: u32 = 36;
    let samples = &samples[..samples.len().min(((u32::MAX - HEADER_AFTER_SIZE) / 2) as usize)];
    let data_bytes = samples.len() as u32 * 2;
    let mut wav = Vec::with_capacity(44 + data_bytes as usize);
    wav.extend(b"RIFF");
    wav.extend((HEADER_AFTER_SIZE + data_bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes()); // the bytes of this chunk
    wav.extend(1_u16.to_le_bytes()); // PCM
    wav.extend(1_u16.to_le_bytes()); // mono
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 2).to_le_bytes()); // bytes per second
    wav.extend(2_u16.to_le_bytes()); // bytes per frame
    wav.extend(16_u16.to_le_bytes()); // bits per sample
    wav.extend(b"data");
    wav.extend(data_bytes.to_le_bytes());
    // A cast from float saturates, and makes not-a-number zero.
    wav.extend(
        samples
            .iter()
            .flat_map(|sample| ((sample * 32_768.0).round() as i16).to_le_bytes()),
    );
    wav
}
