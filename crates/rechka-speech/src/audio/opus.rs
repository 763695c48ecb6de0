//! Opus for symphonia, which demuxes it and does not decode it.
//!
//! The decoder is the crate `ropus`, a Rust port of the fixed-point reference that is kept bit-exact to it and fuzzed
//! against it; beside `opusdec` it differs by -80 dB. `opus-decoder` 0.1, without any `unsafe`, decodes noise where the
//! mode changes between SILK and CELT (+19 dB). `symphonia-adapter-libopus` builds C with CMake, which a fresh machine
//! lacks.
use super::pcm::MAXIMUM_CHANNELS;
use ropus::OpusMSDecoder;
use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, GenericAudioBufferRef, layouts,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

/// Opus always decodes to this rate.
const RATE: u32 = 48_000;
/// The longest packet: 120 ms.
const MAXIMUM_FRAMES: usize = RATE as usize * 120 / 1_000;

/// A decoder of Opus packets to the mean of their channels.
pub(super) struct Opus {
    parameters: AudioCodecParameters,
    decoder: OpusMSDecoder,
    channels: usize,
    gain: f32,
    /// Frames still to drop; None before the first packet.
    skip: Option<usize>,
    pre_skip: usize,
    interleaved: Vec<i16>,
    mono: AudioBuffer<f32>,
}

impl Opus {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let head = match &parameters.extra_data {
            Some(bytes) => Head::parse(bytes)?,
            None => Head::plain(parameters.channels.as_ref().map_or(1, |channels| channels.count()))?,
        };
        let decoder = OpusMSDecoder::new(
            RATE as i32,
            head.mapping.len() as i32,
            head.streams,
            head.coupled,
            &head.mapping,
        )
        .map_err(|_| Error::DecodeError("opus: the header's channel mapping contradicts itself"))?;
        let channels = head.mapping.len();
        Ok(Opus {
            parameters: parameters.clone(),
            decoder,
            channels,
            gain: head.gain,
            skip: None,
            pre_skip: head.pre_skip,
            interleaved: vec![0; MAXIMUM_FRAMES * channels],
            mono: AudioBuffer::new(AudioSpec::new(RATE, layouts::CHANNEL_LAYOUT_MONO), MAXIMUM_FRAMES),
        })
    }
}

impl AudioDecoder for Opus {
    fn reset(&mut self) {
        self.decoder.reset();
    }

    fn codec_info(&self) -> &CodecInfo {
        &SUPPORTED[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.mono.clear();
        if packet.data.is_empty() {
            return Err(Error::DecodeError("opus: an empty packet"));
        }
        let frames = self
            .decoder
            .decode(
                Some(packet.data),
                packet.data.len() as i32,
                &mut self.interleaved,
                MAXIMUM_FRAMES as i32,
                false,
            )
            .map_err(|_| Error::DecodeError("opus: a malformed packet"))? as usize;
        self.mono.render_uninit(Some(frames));
        let scale = self.gain / (32_768.0 * self.channels as f32);
        let sums = self
            .interleaved
            .chunks_exact(self.channels)
            .map(|frame| frame.iter().copied().map(i32::from).sum::<i32>());
        let mean = sums.map(|sum| sum as f32 * scale);
        if let Some(plane) = self.mono.plane_mut(0) {
            plane.iter_mut().zip(mean).for_each(|(sample, mean)| *sample = mean);
        }
        // Matroska gives the encoder's warm-up times before 0, by which the caller drops it; Ogg leaves it to us.
        let skip = self
            .skip
            .get_or_insert(if packet.pts.get() < 0 { 0 } else { self.pre_skip });
        let start = (*skip).min(frames);
        *skip -= start;
        self.mono.trim(
            start.max(packet.trim_start.get() as usize),
            packet.trim_end.get() as usize,
        );
        Ok(self.mono.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.mono.as_generic_audio_buffer_ref()
    }
}

const SUPPORTED: &[SupportedAudioCodec] = &[SupportedAudioCodec {
    id: CODEC_ID_OPUS,
    info: CodecInfo {
        short_name: "opus",
        long_name: "Opus",
        profiles: &[],
    },
}];

impl RegisterableAudioDecoder for Opus {
    fn try_registry_new(parameters: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Opus::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        SUPPORTED
    }
}

/// What a decoder needs from the identification header (RFC 7845, section 5.1).
#[derive(Debug, PartialEq)]
struct Head {
    /// Frames that the encoder needed to warm up.
    pre_skip: usize,
    /// A factor for every sample.
    gain: f32,
    /// Streams in a packet, the first `coupled` of which are stereo.
    streams: i32,
    coupled: i32,
    /// Where each channel comes from.
    mapping: Vec<u8>,
}

impl Head {
    /// One stream without a header of its own.
    fn plain(channels: usize) -> Result<Self> {
        let mapping = match channels {
            1 => vec![0],
            2 => vec![0, 1],
            _ => {
                return Err(Error::DecodeError(
                    "opus: neither mono nor stereo, and no channel mapping",
                ));
            }
        };
        Ok(Head {
            pre_skip: 0,
            gain: 1.0,
            streams: 1,
            coupled: channels as i32 - 1,
            mapping,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        const SHORT: Error = Error::DecodeError("opus: the header is cut off");
        let body = bytes
            .strip_prefix(b"OpusHead")
            .ok_or(Error::DecodeError("opus: no header"))?;
        let &[
            _version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            family,
            ref rest @ ..,
        ] = body
        else {
            return Err(SHORT);
        };
        let channels = usize::from(channels);
        let pre_skip = usize::from(u16::from_le_bytes([skip_low, skip_high]));
        let decibels = f32::from(i16::from_le_bytes([gain_low, gain_high])) / 256.0;
        let gain = 10.0_f32.powf(decibels / 20.0);
        if family == 0 {
            return Ok(Head {
                pre_skip,
                gain,
                ..Self::plain(channels)?
            });
        }
        if !(1..=usize::from(MAXIMUM_CHANNELS)).contains(&channels) {
            return Err(Error::Unsupported("opus: more than 32 channels"));
        }
        let &[streams, coupled, ref mapping @ ..] = rest else {
            return Err(SHORT);
        };
        let mapping = mapping.get(..channels).ok_or(SHORT)?.to_vec();
        Ok(Head {
            pre_skip,
            gain,
            streams: streams.into(),
            coupled: coupled.into(),
            mapping,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read_as_the_rfc_says() {
        let stereo = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        assert_eq!(
            Head::parse(stereo).unwrap(),
            Head {
                pre_skip: 312,
                gain: 1.0,
                streams: 1,
                coupled: 1,
                mapping: vec![0, 1]
            }
        );
        let surround = b"OpusHead\x01\x03\x38\x01\x80\xbb\0\0\0\xec\x01\x02\x01\0\x02\x01";
        let head = Head::parse(surround).unwrap();
        assert_eq!((head.streams, head.coupled, &head.mapping[..]), (2, 1, &[0, 2, 1][..]));
        // The gain: 0xec00 is -20 dB in 1/256 dB.
        assert!((head.gain - 0.1).abs() < 1e-6);
        assert!(Head::parse(&surround[..surround.len() - 1]).is_err());
    }

    fn opus(header: Option<&[u8]>) -> Result<Opus> {
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_OPUS);
        if let Some(header) = header {
            parameters.with_extra_data(header.into());
        }
        Opus::new(&parameters)
    }

    proptest! {
        #[test]
        fn no_packet_and_no_header_make_the_decoder_panic(
            header in prop::collection::vec(any::<u8>(), 0..40),
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
        ) {
            let header = [b"OpusHead", &header[..]].concat();
            for mut opus in [opus(Some(&header)), opus(None)].into_iter().flatten() {
                for packet in &packets {
                    let packet = PacketRef::new(0, Default::default(), Default::default(), packet);
                    if let Ok(buffer) = opus.decode_ref(&packet) {
                        prop_assert!(buffer.frames() <= MAXIMUM_FRAMES);
                    }
                }
            }
        }
    }
}
