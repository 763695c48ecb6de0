//! Raw PCM: bytes in a declared encoding to mono samples.
use super::AudioError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Sample rates that are handled, in Hz.
pub(super) const RATES: RangeInclusive<u32> = 1_000..=384_000;
/// The most channels that are handled.
pub(super) const MAXIMUM_CHANNELS: u16 = 32;

/// How a raw stream writes one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Encoding {
    /// `pcm_s16le`: 16-bit signed integers, little endian.
    S16Le,
    /// `pcm_s24le`: 24-bit signed integers in three bytes, little endian.
    S24Le,
    /// `pcm_f32le`: 32-bit floats, little endian, full scale at ±1.
    F32Le,
    /// `mulaw`: 8-bit mu-law (ITU-T G.711), the telephone of North America and Japan.
    MuLaw,
    /// `alaw`: 8-bit A-law (ITU-T G.711), the telephone elsewhere.
    ALaw,
}

impl Encoding {
    /// Bytes of one sample of one channel.
    pub fn sample_bytes(self) -> usize {
        match self {
            Encoding::S16Le => 2,
            Encoding::S24Le => 3,
            Encoding::F32Le => 4,
            Encoding::MuLaw | Encoding::ALaw => 1,
        }
    }

    /// One sample, within ±1, from [`Encoding::sample_bytes`] bytes.
    fn sample(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Encoding::S16Le, &[low, high]) => f32::from(i16::from_le_bytes([low, high])) / 32_768.0,
            (Encoding::S24Le, &[low, middle, high]) => {
                // Placed in the upper bytes, so that the sign comes by itself.
                i32::from_le_bytes([0, low, middle, high]) as f32 / 2_147_483_648.0
            }
            (Encoding::F32Le, &[a, b, c, d]) => within_full_scale(f32::from_le_bytes([a, b, c, d])),
            (Encoding::MuLaw, &[code]) => f32::from(decode_mulaw(code)) / 32_768.0,
            (Encoding::ALaw, &[code]) => f32::from(decode_alaw(code)) / 32_768.0,
            _ => 0.0,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Encoding::S16Le => "pcm_s16le",
            Encoding::S24Le => "pcm_s24le",
            Encoding::F32Le => "pcm_f32le",
            Encoding::MuLaw => "mulaw",
            Encoding::ALaw => "alaw",
        })
    }
}

impl FromStr for Encoding {
    type Err = AudioError;

    /// Reads the name of an encoding, or what FFmpeg, telephony and other speech servers call it, in any case.
    fn from_str(name: &str) -> Result<Self, AudioError> {
        match name.to_ascii_lowercase().as_str() {
            "pcm_s16le" | "s16le" | "s16" | "pcm16" | "linear16" => Ok(Encoding::S16Le),
            "pcm_s24le" | "s24le" | "s24" | "pcm24" => Ok(Encoding::S24Le),
            "pcm_f32le" | "f32le" | "f32" | "float32" | "linear32" => Ok(Encoding::F32Le),
            "mulaw" | "ulaw" | "mu-law" | "pcm_mulaw" | "pcmu" | "g711_ulaw" => Ok(Encoding::MuLaw),
            "alaw" | "a-law" | "pcm_alaw" | "pcma" | "g711_alaw" => Ok(Encoding::ALaw),
            _ => Err(AudioError::UnknownEncoding(name.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for Encoding {
    type Error = AudioError;

    fn try_from(name: String) -> Result<Self, AudioError> {
        name.parse()
    }
}

impl From<Encoding> for String {
    fn from(encoding: Encoding) -> String {
        encoding.to_string()
    }
}

/// What a raw stream must declare before its first byte: encoding, sample rate and channels, all within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "DeclaredFormat", into = "DeclaredFormat")]
pub struct PcmFormat {
    encoding: Encoding,
    rate: u32,
    channels: u16,
}

impl PcmFormat {
    /// A format: `rate` from 1,000 to 384,000 Hz, 1 to 32 interleaved channels.
    pub fn new(encoding: Encoding, rate: u32, channels: u16) -> Result<Self, AudioError> {
        if !RATES.contains(&rate) {
            return Err(AudioError::Rate(rate));
        }
        if !(1..=MAXIMUM_CHANNELS).contains(&channels) {
            return Err(AudioError::Channels(channels));
        }
        Ok(PcmFormat {
            encoding,
            rate,
            channels,
        })
    }

    /// How samples are written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Frames per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Interleaved channels.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Bytes of one frame: one sample of every channel.
    pub fn frame_bytes(&self) -> usize {
        self.encoding.sample_bytes() * usize::from(self.channels)
    }
}

/// [`PcmFormat`] as someone declares it, before its bounds are checked.
#[derive(Serialize, Deserialize)]
struct DeclaredFormat {
    encoding: Encoding,
    rate: u32,
    channels: u16,
}

impl TryFrom<DeclaredFormat> for PcmFormat {
    type Error = AudioError;

    fn try_from(declared: DeclaredFormat) -> Result<Self, AudioError> {
        PcmFormat::new(declared.encoding, declared.rate, declared.channels)
    }
}

impl From<PcmFormat> for DeclaredFormat {
    fn from(format: PcmFormat) -> Self {
        DeclaredFormat {
            encoding: format.encoding,
            rate: format.rate,
            channels: format.channels,
        }
    }
}

/// Bytes of a raw stream to mono samples at the stream's own rate: the mean of the channels.
///
/// Chunks may cut a frame anywhere; the cut frame waits for its rest.
#[derive(Clone, Debug)]
pub struct MonoDecoder {
    format: PcmFormat,
    cut_frame: Vec<u8>,
}

impl MonoDecoder {
    /// A decoder at the start of a frame.
    pub fn new(format: PcmFormat) -> Self {
        MonoDecoder {
            format,
            cut_frame: Vec::with_capacity(format.frame_bytes()),
        }
    }

    /// Appends the frames that `bytes` complete to `mono`.
    pub fn push(&mut self, mut bytes: &[u8], mono: &mut Vec<f32>) {
        let frame_bytes = self.format.frame_bytes();
        mono.reserve(bytes.len() / frame_bytes + 1);
        if !self.cut_frame.is_empty() {
            let (rest, after) = bytes.split_at(bytes.len().min(frame_bytes - self.cut_frame.len()));
            self.cut_frame.extend_from_slice(rest);
            bytes = after;
            if self.cut_frame.len() < frame_bytes {
                return;
            }
            mono.push(self.mean(&self.cut_frame));
            self.cut_frame.clear();
        }
        let frames = bytes.chunks_exact(frame_bytes);
        self.cut_frame.extend_from_slice(frames.remainder());
        mono.extend(frames.map(|frame| self.mean(frame)));
    }

    /// Bytes of a frame that is not complete yet.
    pub fn pending_bytes(&self) -> usize {
        self.cut_frame.len()
    }

    fn mean(&self, frame: &[u8]) -> f32 {
        let encoding = self.format.encoding;
        let sum: f32 = frame
            .chunks_exact(encoding.sample_bytes())
            .map(|bytes| encoding.sample(bytes))
            .sum();
        sum / f32::from(self.format.channels)
    }
}

/// Floats from outside may be anything: not-a-number becomes silence, the rest is cut at full scale as a sound card
/// would, so that one bad sample can't flood the filters behind.
pub(super) fn within_full_scale(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

/// ITU-T G.711 mu-law to 16-bit linear (table 2a).
fn decode_mulaw(code: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let code = !code;
    let exponent = (code >> 4) & 0x07;
    let magnitude = ((i16::from(code & 0x0F) << 3) + BIAS) << exponent;
    if code & 0x80 == 0 {
        magnitude - BIAS
    } else {
        BIAS - magnitude
    }
}

/// ITU-T G.711 A-law to 16-bit linear (table 1a).
fn decode_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let exponent = (code >> 4) & 0x07;
    let step = (i16::from(code & 0x0F) << 4) + 8;
    let magnitude = if exponent == 0 {
        step
    } else {
        (step + 0x100) << (exponent - 1)
    };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENCODINGS: [Encoding; 5] = [
        Encoding::S16Le,
        Encoding::S24Le,
        Encoding::F32Le,
        Encoding::MuLaw,
        Encoding::ALaw,
    ];

    fn decode(encoding: Encoding, channels: u16, bytes: &[u8]) -> Vec<f32> {
        let mut mono = Vec::new();
        MonoDecoder::new(PcmFormat::new(encoding, 8_000, channels).unwrap()).push(bytes, &mut mono);
        mono
    }

    #[test]
    fn every_encoding_is_read_by_the_name_it_writes() {
        for encoding in ENCODINGS {
            assert_eq!(encoding.to_string().parse::<Encoding>().unwrap(), encoding);
        }
        assert_eq!("LINEAR16".parse::<Encoding>().unwrap(), Encoding::S16Le);
        let error = "mp3".parse::<Encoding>().unwrap_err().to_string();
        assert!(error.contains("\"mp3\"") && error.contains("pcm_s16le"), "{error}");
    }

    #[test]
    fn a_format_out_of_bounds_is_refused_with_the_bounds() {
        let rate = PcmFormat::new(Encoding::S16Le, 999, 1).unwrap_err().to_string();
        assert!(rate.contains("1000 to 384000"), "{rate}");
        let channels = PcmFormat::new(Encoding::S16Le, 8_000, 0).unwrap_err().to_string();
        assert!(channels.contains("1 to 32"), "{channels}");
        assert!(PcmFormat::new(Encoding::S16Le, 8_000, 33).is_err());
    }

    #[test]
    fn integers_span_full_scale() {
        assert_eq!(
            decode(Encoding::S16Le, 1, &[0, 0x80, 0, 0, 0xFF, 0x7F]),
            [-1.0, 0.0, 32_767.0 / 32_768.0]
        );
        assert_eq!(decode(Encoding::S24Le, 1, &[0, 0, 0x80, 0, 0, 0x40]), [-1.0, 0.5]);
    }

    #[test]
    fn channels_are_averaged() {
        assert_eq!(
            decode(Encoding::S16Le, 2, &[0, 0x40, 0, 0xC0, 0, 0x40, 0, 0]),
            [0.0, 0.25]
        );
    }

    #[test]
    fn floats_that_are_no_sound_become_silence_or_full_scale() {
        let floats = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.5];
        let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        assert_eq!(decode(Encoding::F32Le, 1, &bytes), [0.0, 1.0, -1.0, 0.5]);
    }

    #[test]
    fn companded_samples_have_the_values_of_the_standard() {
        // G.711 tables: the extremes, the two zeros and the end of the first segment, scaled to 16 bits.
        for (code, linear) in [
            (0x00, -32_124),
            (0x80, 32_124),
            (0xFF, 0),
            (0x7F, 0),
            (0xEF, 132),
            (0xF0, 120),
        ] {
            assert_eq!(decode_mulaw(code), linear, "mu-law {code:#x}");
        }
        for (code, linear) in [
            (0xAA, 32_256),
            (0x2A, -32_256),
            (0xD5, 8),
            (0x55, -8),
            (0xC5, 264),
            (0xDA, 248),
        ] {
            assert_eq!(decode_alaw(code), linear, "A-law {code:#x}");
        }
    }

    #[test]
    fn a_format_travels_as_json_and_is_checked_on_the_way_in() {
        let format = PcmFormat::new(Encoding::MuLaw, 8_000, 2).unwrap();
        let json = serde_json::to_string(&format).unwrap();
        assert_eq!(json, r#"{"encoding":"mulaw","rate":8000,"channels":2}"#);
        assert_eq!(serde_json::from_str::<PcmFormat>(&json).unwrap(), format);
        let refused = serde_json::from_str::<PcmFormat>(r#"{"encoding":"mulaw","rate":0,"channels":2}"#);
        assert!(refused.unwrap_err().to_string().contains("1000 to 384000"));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_chunks_give_the_same_samples_within_full_scale(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            cuts in prop::collection::vec(1_usize..50, 1..20),
            encoding in prop::sample::select(&ENCODINGS[..]),
            channels in 1_u16..=32,
        ) {
            let whole = decode(encoding, channels, &bytes);
            let mut decoder = MonoDecoder::new(PcmFormat::new(encoding, 48_000, channels).unwrap());
            let mut chunked = Vec::new();
            let (mut rest, mut sizes) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                decoder.push(chunk, &mut chunked);
                rest = after;
            }
            let frame_bytes = encoding.sample_bytes() * usize::from(channels);
            prop_assert_eq!(whole.len(), bytes.len() / frame_bytes);
            prop_assert_eq!(decoder.pending_bytes(), bytes.len() % frame_bytes);
            prop_assert!(whole.iter().all(|sample| sample.abs() <= 1.0));
            prop_assert_eq!(whole, chunked);
        }
    }
}
