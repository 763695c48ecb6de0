//! The header of a WAV file (RIFF, *Multimedia Programming Interface and Data Specifications 1.0*), for each encoding as it is.
use rechka_speech::audio::{Encoding, PcmFormat};

/// The header before `data_bytes` of samples. Longer than 4 GiB can't be said: players then read to the end.
pub(super) fn header(format: PcmFormat, data_bytes: u64) -> Vec<u8> {
    let tag: u16 = match format.encoding() {
        Encoding::S16Le | Encoding::S24Le => 1,
        Encoding::F32Le => 3,
        Encoding::ALaw => 6,
        Encoding::MuLaw => 7,
    };
    let integer = tag == 1;
    let frame_bytes = format.frame_bytes();
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = Vec::with_capacity(58);
    header.extend_from_slice(b"RIFF");
    // What follows: "WAVE", the format chunk, the fact chunk of what is not integer, the data chunk.
    header.extend(size(data_bytes.saturating_add(if integer { 36 } else { 50 })));
    header.extend_from_slice(b"WAVEfmt ");
    header.extend(size(if integer { 16 } else { 18 }));
    header.extend(tag.to_le_bytes());
    header.extend(format.channels().to_le_bytes());
    header.extend(format.rate().to_le_bytes());
    header.extend(size(u64::from(format.rate()) * frame_bytes as u64));
    header.extend((frame_bytes as u16).to_le_bytes());
    header.extend((8 * format.encoding().sample_bytes() as u16).to_le_bytes());
    if !integer {
        header.extend(0_u16.to_le_bytes());
        header.extend_from_slice(b"fact");
        header.extend(size(4));
        header.extend(size(data_bytes / frame_bytes as u64));
    }
    header.extend_from_slice(b"data");
    header.extend(size(data_bytes));
    header
}

/// The byte that is silent in an encoding.
pub(super) fn silence(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::S16Le | Encoding::S24Le | Encoding::F32Le => 0,
        Encoding::MuLaw => 0xFF,
        Encoding::ALaw => 0xD5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_agree_with_what_follows() {
        for encoding in [
            Encoding::S16Le,
            Encoding::S24Le,
            Encoding::F32Le,
            Encoding::MuLaw,
            Encoding::ALaw,
        ] {
            let header = header(PcmFormat::new(encoding, 48_000, 2).unwrap(), 1200);
            let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
            assert_eq!(number(4) as usize, header.len() + 1200 - 8, "{encoding}");
            assert_eq!(number(header.len() - 4), 1200);
            assert_eq!(&header[header.len() - 8..header.len() - 4], b"data");
            assert_eq!(number(24), 48_000);
        }
    }
}
