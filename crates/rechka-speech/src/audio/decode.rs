//! Audio files of every common format to 16 kHz mono, piece by piece.
//!
//! symphonia finds out the format, takes it apart and decodes it; Opus has its own decoder beside it. A file is never
//! in memory as a whole. What is broken costs what is broken: a packet that can't be decoded becomes silence
//! of its length, so that the times of all that follows stay right, and an error that names the place; reading goes on.
use super::opus::Opus;
use super::pcm::within_full_scale;
use super::{AudioError, Resampler, SAMPLE_RATE};
use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

/// Frames that every AAC-LC decoder gives before the first that was put in: the overlap of its first block.
const AAC_WARM_UP: usize = 1_024;
/// The longest silence that stands for packets that are broken in a row, in seconds.
const LONGEST_GAP: f64 = 10.0;
/// After so many packets in a row without a sound a file is given up: a small one can claim billions of them.
const MOST_FRUITLESS: u32 = 1_000;
/// A file that is shorter than its header says by this many seconds is cut off; less is a matter of rounding.
const SHORTFALL: f64 = 0.1;

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut registry = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut registry);
    registry.register_audio_decoder::<Opus>();
    registry
});

/// An audio file, or anything that reads like one: an iterator over pieces of 16 kHz mono.
///
/// WAV, FLAC, MP3, AAC (ADTS, M4A), Ogg (Vorbis, Opus, FLAC), WebM and Matroska. Of several audio tracks the default
/// one is read.
///
/// An item that is an error names a place that could not be read. After [`AudioError::Broken`] the pieces go on behind
/// it; any other error is the last item. So whoever wants what could be read goes on until the end.
pub struct AudioFile {
    format: Box<dyn FormatReader>,
    track: AudioTrack,
    resampler: Resampler,
    rate: u32,
    duration: Option<f64>,
    /// The first item, if it was read already.
    first: Option<Result<Vec<f32>, AudioError>>,
    /// Samples that were given out.
    given: u64,
    /// Packets and errors in a row without a sound.
    fruitless: u32,
    /// Seconds of the last packet that could be decoded.
    last_packet: f64,
    /// Seconds of silence that stand for broken packets in a row; None after a sound.
    gap: Option<f64>,
    /// An error to be told after the samples before it.
    damage: Option<AudioError>,
    ending: Option<Ending>,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
}

/// The track that is read.
struct AudioTrack {
    id: u32,
    time_base: Option<TimeBase>,
    decoder: Box<dyn AudioDecoder>,
    /// Frames that are still to be dropped at the start.
    warm_up: usize,
}

/// How the iterator ends.
enum Ending {
    Error(AudioError),
    Done,
}

impl AudioFile {
    /// Opens a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AudioError> {
        let path = path.as_ref();
        let failed = |cause| AudioError::Open {
            path: path.to_path_buf(),
            cause,
        };
        if path.metadata().map_err(failed)?.is_dir() {
            return Err(failed(ErrorKind::IsADirectory.into()));
        }
        let whole = Self::from_source(Box::new(File::open(path).map_err(failed)?));
        Self::or_without_seeking(whole, || Self::from_reader(File::open(path).map_err(failed)?))
    }

    /// Reads a stream that can't be sought in, such as standard input. M4A files whose index is at their end can't be
    /// read like this.
    pub fn from_reader(reader: impl Read + Send + Sync + 'static) -> Result<Self, AudioError> {
        Self::from_source(Box::new(ReadOnlySource::new(reader)))
    }

    /// Reads a file that is in memory.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self, AudioError> {
        let bytes: Arc<[u8]> = bytes.into();
        let whole = Self::from_source(Box::new(Cursor::new(bytes.clone())));
        Self::or_without_seeking(whole, || Self::from_reader(Cursor::new(bytes)))
    }

    /// A file that is cut off may fail at once because its end was looked for. Read without seeking it gives what is
    /// there.
    fn or_without_seeking(
        whole: Result<Self, AudioError>,
        again: impl FnOnce() -> Result<Self, AudioError>,
    ) -> Result<Self, AudioError> {
        let mut whole = match whole {
            Err(AudioError::CutOff { .. } | AudioError::Unreadable(_)) => return again(),
            whole => whole?,
        };
        whole.first = whole.read();
        match &whole.first {
            Some(Err(_)) => again().or(Ok(whole)),
            _ => Ok(whole),
        }
    }

    /// Finds out what the source holds.
    fn from_source(source: Box<dyn MediaSource>) -> Result<Self, AudioError> {
        let stream = MediaSourceStream::new(source, Default::default());
        let (hint, options, metadata) = (Hint::new(), FormatOptions::default(), MetadataOptions::default());
        let probe = symphonia::default::get_probe();
        let format = guarded(|| probe.probe(&hint, stream, options, metadata)).map_err(|error| match error {
            Error::Unsupported("core (probe): no suitable format reader found") => AudioError::NotAudio,
            Error::IoError(source) if source.kind() == ErrorKind::UnexpectedEof => AudioError::CutOff {
                at: 0.0,
                duration: None,
            },
            Error::IoError(cause) => AudioError::Read { at: 0.0, cause },
            error => AudioError::Unreadable(error.to_string()),
        })?;
        let track = format.default_track(TrackType::Audio).ok_or(AudioError::NoAudioTrack)?;
        let duration = duration(format.as_ref(), track);
        let track = AudioTrack::new(track)?;
        let rate = track.decoder.codec_params().sample_rate.unwrap_or(SAMPLE_RATE);
        Ok(AudioFile {
            format,
            track,
            resampler: Resampler::new(rate)?,
            rate,
            duration,
            first: None,
            given: 0,
            fruitless: 0,
            last_packet: 0.0,
            gap: None,
            damage: None,
            ending: None,
            interleaved: Vec::new(),
            mono: Vec::new(),
        })
    }

    /// The length in seconds, where the file says it.
    pub fn duration(&self) -> Option<f64> {
        self.duration
    }

    /// How many seconds of audio were given out so far.
    pub fn seconds_read(&self) -> f64 {
        self.given as f64 / f64::from(SAMPLE_RATE)
    }

    /// Reads on until there are samples, an error, or the end.
    fn read(&mut self) -> Option<Result<Vec<f32>, AudioError>> {
        let mut samples = Vec::new();
        while samples.is_empty() && self.damage.is_none() && self.ending.is_none() {
            match guarded(|| self.format.next_packet()) {
                Ok(Some(packet)) => {
                    self.fruitless += 1;
                    if packet.track_id == self.track.id {
                        self.decode(&packet, &mut samples);
                    }
                }
                Ok(None) => self.end(None, &mut samples),
                Err(Error::ResetRequired) => {
                    if let Err(error) = self.change_track() {
                        self.end(Some(error), &mut samples);
                    }
                }
                // Whether that was too early, the duration tells.
                Err(Error::IoError(source)) if source.kind() == ErrorKind::UnexpectedEof => {
                    self.end(None, &mut samples);
                }
                Err(Error::IoError(cause)) => {
                    let at = self.seconds_read();
                    self.end(Some(AudioError::Read { at, cause }), &mut samples);
                }
                Err(error) => {
                    self.fruitless += 1;
                    self.report(&error);
                }
            }
            if self.fruitless > MOST_FRUITLESS && self.ending.is_none() {
                let reason = format!("nothing to hear in {MOST_FRUITLESS} packets");
                self.end(Some(AudioError::Unreadable(reason)), &mut samples);
            }
        }
        if !samples.is_empty() {
            return Some(Ok(samples));
        }
        if let Some(error) = self.damage.take() {
            return Some(Err(error));
        }
        match self.ending.replace(Ending::Done) {
            Some(Ending::Error(error)) => Some(Err(error)),
            _ => None,
        }
    }

    /// Decodes a packet; silence stands for an unreadable one.
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) {
        let decoded = guarded(|| {
            let buffer = self.track.decoder.decode(packet)?;
            mean_of_channels(&buffer, &mut self.interleaved, &mut self.mono);
            Ok(buffer.spec().rate())
        });
        match decoded {
            Ok(rate) => {
                if rate != self.rate {
                    match Resampler::new(rate) {
                        Ok(next) => std::mem::replace(&mut self.resampler, next).finish(samples),
                        Err(error) => return self.end(Some(error), samples),
                    }
                    self.rate = rate;
                }
                if !self.mono.is_empty() {
                    (self.fruitless, self.gap) = (0, None);
                    self.last_packet = self.mono.len() as f64 / f64::from(rate);
                }
                let lead = self.track.lead(packet, rate, self.mono.len());
                self.resampler.push(&self.mono[lead..], samples);
            }
            Err(error) => {
                self.report(&error);
                let gap = self.gap.get_or_insert_default();
                let seconds = self
                    .track
                    .seconds(packet)
                    .unwrap_or(self.last_packet)
                    .min(LONGEST_GAP - *gap);
                *gap += seconds;
                self.mono.clear();
                self.mono.resize((seconds * f64::from(self.rate)).round() as usize, 0.0);
                self.resampler.push(&self.mono, samples);
            }
        }
    }

    /// Of errors in a row the first is told.
    fn report(&mut self, error: &Error) {
        if self.gap.is_none() {
            self.gap = Some(0.0);
            self.damage = Some(AudioError::Broken {
                at: self.seconds_read(),
                reason: error.to_string(),
            });
        }
    }

    /// A chained file goes on with another track.
    fn change_track(&mut self) -> Result<(), AudioError> {
        let track = self
            .format
            .default_track(TrackType::Audio)
            .ok_or(AudioError::NoAudioTrack)?;
        self.track = AudioTrack::new(track)?;
        self.duration = None;
        Ok(())
    }

    /// Empties the filter; after its samples comes the error, if any.
    fn end(&mut self, error: Option<AudioError>, samples: &mut Vec<f32>) {
        if let Ok(next) = Resampler::new(self.rate) {
            std::mem::replace(&mut self.resampler, next).finish(samples);
        }
        let at = self.seconds_read() + samples.len() as f64 / f64::from(SAMPLE_RATE);
        let cut_off = self.duration.filter(|duration| at + SHORTFALL < *duration);
        let error = error.or_else(|| {
            cut_off.map(|duration| AudioError::CutOff {
                at,
                duration: Some(duration),
            })
        });
        self.ending = Some(error.map_or(Ending::Done, Ending::Error));
    }
}

impl Iterator for AudioFile {
    type Item = Result<Vec<f32>, AudioError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.first.take().or_else(|| self.read());
        if let Some(Ok(samples)) = &item {
            self.given += samples.len() as u64;
        }
        item
    }
}

impl AudioTrack {
    fn new(track: &Track) -> Result<Self, AudioError> {
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| AudioError::UnknownCodec("an unknown codec".into()))?;
        let decoder = CODECS
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| match error {
                Error::Unsupported("core (codec): unsupported audio codec") => {
                    AudioError::UnknownCodec(parameters.codec.to_string())
                }
                error => AudioError::Unreadable(error.to_string()),
            })?;
        let warm_up = if parameters.codec == CODEC_ID_AAC {
            AAC_WARM_UP
        } else {
            0
        };
        Ok(AudioTrack {
            id: track.id,
            time_base: track.time_base,
            decoder,
            warm_up,
        })
    }

    /// How long a packet lasts, in seconds, if the file says it.
    fn seconds(&self, packet: &Packet) -> Option<f64> {
        let seconds = self.time_base?.calc_duration(packet.dur)?.as_secs_f64();
        (seconds > 0.0).then_some(seconds)
    }

    /// How many of a packet's `decoded` frames sound before the track starts: the encoder needed them to warm up, and
    /// the decoder did not cut them off. Matroska tells them by times before 0, AAC does not tell.
    fn lead(&mut self, packet: &Packet, rate: u32, decoded: usize) -> usize {
        let seconds = self
            .time_base
            .map_or(0.0, |base| -base.calc_time_saturating(packet.pts).as_secs_f64());
        let early =
            ((seconds * f64::from(rate)).round().max(0.0) as usize).saturating_sub(packet.trim_start.get() as usize);
        let warm_up = self.warm_up.min(decoded);
        self.warm_up -= warm_up;
        early.min(decoded).max(warm_up)
    }
}

/// Runs a demuxer or decoder over bytes from outside. Damaged sizes and counts make some of them panic (symphonia 0.6 does,
/// on overflow where that is checked); here that is one more damaged place.
fn guarded<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Error::DecodeError("the decoder gave up")))
}

/// The length of a track in seconds, if the file says it of the track or of the whole.
fn duration(format: &dyn FormatReader, track: &Track) -> Option<f64> {
    let seconds = |base: Option<TimeBase>, duration: Option<Duration>| base?.calc_duration(duration?);
    let media = format.media_info();
    let time = seconds(track.time_base, track.duration).or_else(|| seconds(media.time_base, media.duration))?;
    Some(time.as_secs_f64()).filter(|seconds| *seconds > 0.0)
}

/// The mean of a buffer's channels, within ±1, to `mono`.
fn mean_of_channels(buffer: &GenericAudioBufferRef<'_>, interleaved: &mut Vec<f32>, mono: &mut Vec<f32>) {
    let channels = buffer.num_planes().max(1);
    buffer.copy_to_vec_interleaved(interleaved);
    mono.clear();
    mono.extend(interleaved.chunks_exact(channels).map(|frame| {
        let sum: f32 = frame.iter().map(|sample| within_full_scale(*sample)).sum();
        sum / channels as f32
    }));
}
