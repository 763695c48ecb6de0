//! Voice activity: where speech starts and ends.
//!
//! Each frame of 16 ms gets the probability of speech from the network of the crate `earshot` and, beside it, its
//! level above the noise floor. Both must speak for speech. The network alone is not enough: measured on a minute of
//! noise, it calls telephone-band noise speech in 94 to 99 % of frames, and loud pink noise in 14 %. The level
//! alone is not either: a door is louder than the room. Hysteresis turns frames into stretches of speech, with
//! padding, since the network hears a word tens of milliseconds late (figures at [`VadOptions`]).
//!
//! # Why it resets itself
//!
//! A session must find the same stretches when it re-reads its audio after a crash, so what is heard may only depend on
//! the audio since a point from which one can start again. Such points are the events [`VadEvent::SpeechEnd`] and
//! [`VadEvent::Silence`]: there the detector forgets everything and hears the audio from that very sample on
//! again, out of its own buffer. A new detector that starts there ([`Vad::starting_at`]) therefore gives the same
//! events from then on, bit for bit, however the audio is chunked.
use super::SAMPLE_RATE;
use super::noise_floor::NoiseFloor;
use earshot::Detector;
use serde::{Deserialize, Serialize};

/// Samples of a frame: 16 ms.
const FRAME: usize = 256;

/// When frames become speech. Times are in milliseconds.
///
/// The defaults were measured on spoken digits (`../shared/data/fsdd`, 8 kHz, each alone among seconds of noise):
/// found are all of them in silence and in mains hum at 0 dB, 99 % in telephone-band noise at 10 dB; in wide-band noise,
/// which the network does not expect over telephone speech, 98.7 % at 20 dB and 93 % (white) to 95 % (pink) at 10 dB. A
/// probability of 0.5 to start costs 2 to 3 points of that; at 0.3 every third click of a mouse starts speech.
/// Of 99 % of the words the first speech frame begins within 40 ms of the onset in silence and within 160 ms in noise:
/// hence the padding of 250 ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VadOptions {
    /// Speech starts with a frame of at least this probability …
    pub start_probability: f32,
    /// … that is this far above the noise floor, in dB.
    pub start_margin: f32,
    /// Speech goes on with frames of at least this probability …
    pub end_probability: f32,
    /// … that are this far above the noise floor, in dB.
    pub end_margin: f32,
    /// Speech ends after this long without such a frame.
    pub end_silence_ms: u32,
    /// Speech is taken to start this long before its first frame.
    pub pad_before_ms: u32,
    /// Speech is taken to end this long after its last frame; at most `end_silence_ms`.
    pub pad_after_ms: u32,
    /// Without speech, [`VadEvent::Silence`] comes this often, so that a restart never has to go back further.
    pub silence_interval_ms: u32,
}

impl Default for VadOptions {
    fn default() -> Self {
        VadOptions {
            start_probability: 0.4,
            start_margin: 6.0,
            end_probability: 0.3,
            end_margin: 3.0,
            end_silence_ms: 500,
            pad_before_ms: 250,
            pad_after_ms: 200,
            silence_interval_ms: 10_000,
        }
    }
}

/// What was heard, at absolute samples of the 16 kHz clock. Samples of successive events never decrease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VadEvent {
    /// Speech starts at `sample`.
    SpeechStart {
        /// The first sample of speech, padding included.
        sample: u64,
    },
    /// Speech ended at `sample`. A detector that starts there hears the same from then on.
    SpeechEnd {
        /// The sample after the last of speech, padding included.
        sample: u64,
    },
    /// There was no speech up to `sample`. A detector that starts there hears the same from then on.
    Silence {
        /// The first sample that is still open.
        sample: u64,
    },
}

/// A streaming detector of speech in 16 kHz mono.
pub struct Vad {
    options: VadOptions,
    network: Box<Detector>,
    floor: NoiseFloor,
    /// Where the detector last forgot everything.
    origin: u64,
    /// The audio from sample `audio_start` on that may be heard, or heard again.
    audio: Vec<f32>,
    audio_start: u64,
    /// Samples of `audio` that were heard.
    heard: usize,
    /// While in speech: the sample after its last speech frame.
    speech_until: Option<u64>,
}

impl Vad {
    /// A detector at the start of a stream.
    pub fn new(options: VadOptions) -> Self {
        Self::starting_at(options, 0)
    }

    /// A detector that knows nothing and is fed from sample `sample` on.
    pub fn starting_at(options: VadOptions, sample: u64) -> Self {
        Vad {
            options,
            network: Detector::default_boxed(),
            floor: NoiseFloor::default(),
            origin: sample,
            audio: Vec::new(),
            audio_start: sample,
            heard: 0,
            speech_until: None,
        }
    }

    /// Forgets everything; the next sample that is fed is `sample`.
    pub fn reset(&mut self, sample: u64) {
        self.audio.clear();
        self.audio_start = sample;
        self.forget();
    }

    /// The next sample to feed.
    pub fn next_sample(&self) -> u64 {
        self.audio_start + self.audio.len() as u64
    }

    /// Whether speech has started and not ended.
    pub fn in_speech(&self) -> bool {
        self.speech_until.is_some()
    }

    /// Hears `samples` and appends what happened to `events`.
    pub fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>) {
        // In pieces, so that the buffer stays small however long the audio is.
        for piece in samples.chunks(SAMPLE_RATE as usize) {
            self.audio.extend_from_slice(piece);
            while self.audio.len() - self.heard >= FRAME {
                self.hear_frame(events);
            }
            self.drop_settled_audio();
        }
    }

    /// Ends the stream: speech that goes on ends with it.
    pub fn finish(&mut self, events: &mut Vec<VadEvent>) {
        if let Some(until) = self.speech_until {
            let sample = self.next_sample().min(until + samples(self.pad_after_ms()));
            events.push(VadEvent::SpeechEnd { sample });
        }
        self.reset(self.next_sample());
    }

    fn hear_frame(&mut self, events: &mut Vec<VadEvent>) {
        let begin = self.audio_start + self.heard as u64;
        let mut frame = [0.0; FRAME];
        for (heard, sample) in frame.iter_mut().zip(&self.audio[self.heard..]) {
            *heard = super::pcm::within_full_scale(*sample);
        }
        let probability = self.network.predict_f32(&frame);
        let margin = self.floor.margin(&frame);
        self.heard += FRAME;
        let end = begin + FRAME as u64;
        let options = &self.options;

        match self.speech_until {
            None if probability >= options.start_probability && margin >= options.start_margin => {
                self.speech_until = Some(end);
                events.push(VadEvent::SpeechStart {
                    sample: self.speech_start(begin),
                });
            }
            None if end - self.origin >= samples(options.silence_interval_ms).max(2 * RELISTEN) => {
                events.push(VadEvent::Silence { sample: end - RELISTEN });
                self.start_again_at(end - RELISTEN);
            }
            None => {}
            Some(_) if probability >= options.end_probability && margin >= options.end_margin => {
                self.speech_until = Some(end);
            }
            Some(until) if end - until >= samples(options.end_silence_ms) => {
                let sample = (until + samples(self.pad_after_ms())).min(end);
                events.push(VadEvent::SpeechEnd { sample });
                self.start_again_at(sample);
            }
            Some(_) => {}
        }
    }

    /// Where speech starts whose first frame begins at `begin`.
    fn speech_start(&self, begin: u64) -> u64 {
        // Just after the origin the floor is not known yet: what seemed quiet may have been speech.
        if begin - self.origin < LEARNING {
            return self.origin;
        }
        begin
            .saturating_sub(samples(self.options.pad_before_ms))
            .max(self.origin)
    }

    fn pad_after_ms(&self) -> u32 {
        self.options.pad_after_ms.min(self.options.end_silence_ms)
    }

    /// Forgets everything and hears the audio from `sample` on again.
    fn start_again_at(&mut self, sample: u64) {
        self.audio.drain(..(sample - self.audio_start) as usize);
        self.audio_start = sample;
        self.forget();
    }

    fn forget(&mut self) {
        self.network.reset();
        self.floor = NoiseFloor::default();
        self.origin = self.audio_start;
        self.heard = 0;
        self.speech_until = None;
    }

    /// Drops what will not be heard again.
    fn drop_settled_audio(&mut self) {
        let heard = self.audio_start + self.heard as u64;
        let settled = self
            .speech_until
            .unwrap_or_else(|| heard.saturating_sub(RELISTEN).max(self.audio_start));
        let drop = (settled - self.audio_start) as usize;
        self.audio.drain(..drop);
        self.audio_start += drop as u64;
        self.heard -= drop;
    }
}

/// How far back a detector listens when it starts again in silence: 1 s.
const RELISTEN: u64 = SAMPLE_RATE as u64;
/// How long after its origin a detector does not trust its noise floor: 0.5 s.
const LEARNING: u64 = SAMPLE_RATE as u64 / 2;

fn samples(milliseconds: u32) -> u64 {
    u64::from(milliseconds) * u64::from(SAMPLE_RATE) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Resampler;
    use proptest::prelude::*;

    /// Uniform noise of root mean square `level`.
    fn noise(seconds: f32, rate: u32, level: f32, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..(seconds * rate as f32) as usize)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as f32 / 2_147_483_648.0 - 1.0) * level * 3.0_f32.sqrt()
            })
            .collect()
    }

    /// Beeps of 250 ms, which the network takes for a voice, among pauses and faint noise.
    fn beeps(pauses_ms: &[u32]) -> Vec<f32> {
        let mut audio = noise(1.0, SAMPLE_RATE, 0.001, 1);
        for (index, &pause) in pauses_ms.iter().enumerate() {
            let step = std::f32::consts::TAU * 700.0 / SAMPLE_RATE as f32;
            audio.extend((0..4_000).map(|n| 0.14 * (step * n as f32).sin()));
            audio.extend(noise(pause as f32 / 1_000.0, SAMPLE_RATE, 0.001, index as u32));
        }
        audio
    }

    fn hear(mut vad: Vad, audio: &[f32], chunk: usize) -> Vec<VadEvent> {
        let mut events = Vec::new();
        for chunk in audio.chunks(chunk) {
            vad.push(chunk, &mut events);
        }
        vad.finish(&mut events);
        events
    }

    fn sample(event: &VadEvent) -> u64 {
        match *event {
            VadEvent::SpeechStart { sample } | VadEvent::SpeechEnd { sample } | VadEvent::Silence { sample } => sample,
        }
    }

    #[test]
    fn a_minute_of_silence_is_silence() {
        let events = hear(Vad::new(VadOptions::default()), &vec![0.0; 60 * 16_000], 1_000);
        assert!(
            events.iter().all(|event| matches!(event, VadEvent::Silence { .. })),
            "{events:?}"
        );
        assert!(events.len() >= 6 && sample(&events[5]) >= 50 * 16_000, "{events:?}");
    }

    #[test]
    fn steady_noise_and_hum_are_not_speech() {
        let mut telephone = Vec::new();
        let mut resampler = Resampler::new(8_000).unwrap();
        resampler.push(&noise(20.0, 8_000, 0.03, 1), &mut telephone);
        resampler.finish(&mut telephone);
        let hum = |n: u32| {
            let phase = std::f64::consts::TAU * 50.0 * f64::from(n) / f64::from(SAMPLE_RATE);
            (1..12)
                .map(|k| (0.1 * (f64::from(k) * phase).sin() / f64::from(k)) as f32)
                .sum()
        };
        let noises = [
            ("faint white", noise(20.0, SAMPLE_RATE, 0.001, 1)),
            ("white", noise(20.0, SAMPLE_RATE, 0.03, 1)),
            ("loud white", noise(20.0, SAMPLE_RATE, 0.3, 1)),
            ("telephone", telephone),
            ("hum", (0..20 * SAMPLE_RATE).map(hum).collect()),
        ];
        for (name, audio) in noises {
            let events = hear(Vad::new(VadOptions::default()), &audio, 777);
            assert!(
                events.iter().all(|event| matches!(event, VadEvent::Silence { .. })),
                "{name}: {events:?}"
            );
        }
    }

    #[test]
    fn sounds_apart_are_stretches_apart_and_a_short_pause_is_bridged() {
        let events = hear(Vad::new(VadOptions::default()), &beeps(&[1_500, 300, 2_000]), 160);
        let speech: Vec<_> = events
            .iter()
            .filter(|event| !matches!(event, VadEvent::Silence { .. }))
            .collect();
        assert_eq!(speech.len(), 4, "{events:?}");
        let seconds: Vec<f64> = speech.iter().map(|event| sample(event) as f64 / 16_000.0).collect();
        // The beeps sound from 1.0 to 1.25 s and from 2.75 to 3.55 s.
        assert!(
            (0.7..=1.0).contains(&seconds[0]) && (1.25..=1.75).contains(&seconds[1]),
            "{seconds:?}"
        );
        assert!(
            (2.4..=2.75).contains(&seconds[2]) && (3.55..=4.05).contains(&seconds[3]),
            "{seconds:?}"
        );
    }

    #[test]
    fn speech_that_the_end_of_the_stream_cuts_ends_there() {
        let audio = &beeps(&[0])[..19_000];
        let events = hear(Vad::new(VadOptions::default()), audio, 100);
        assert_eq!(events.last(), Some(&VadEvent::SpeechEnd { sample: 19_000 }));
    }

    #[test]
    fn samples_that_are_no_sound_are_survived() {
        let audio = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30].repeat(8_000);
        hear(Vad::new(VadOptions::default()), &audio, 999);
        let mut after = audio;
        after.extend(beeps(&[1_000, 1_000]));
        let events = hear(Vad::new(VadOptions::default()), &after, 999);
        assert!(
            events.iter().any(|event| matches!(event, VadEvent::SpeechStart { .. })),
            "{events:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn events_do_not_depend_on_chunks_and_never_go_back(
            pauses in prop::collection::vec(0_u32..4_000, 1..8),
            chunk in 1_usize..5_000,
        ) {
            let audio = beeps(&pauses);
            let options = VadOptions { silence_interval_ms: 2_500, ..VadOptions::default() };
            let whole = hear(Vad::new(options.clone()), &audio, audio.len());
            let started = whole.iter().any(|event| matches!(event, VadEvent::SpeechStart { .. }));
            prop_assert!(started);
            prop_assert!(whole.is_sorted_by_key(sample));
            prop_assert_eq!(whole, hear(Vad::new(options), &audio, chunk));
        }

        #[test]
        fn a_detector_that_starts_where_speech_or_silence_ended_hears_the_same(
            pauses in prop::collection::vec(0_u32..4_000, 1..8),
            chunk in 1_usize..5_000,
        ) {
            let audio = beeps(&pauses);
            let options = VadOptions { silence_interval_ms: 2_500, ..VadOptions::default() };
            let whole = hear(Vad::new(options.clone()), &audio, 512);
            for (index, event) in whole.iter().enumerate() {
                if matches!(event, VadEvent::SpeechStart { .. }) {
                    continue;
                }
                let from = sample(event);
                let fresh = Vad::starting_at(options.clone(), from);
                prop_assert_eq!(&whole[index + 1..], &hear(fresh, &audio[from as usize..], chunk)[..]);
                let mut used = Vad::new(options.clone());
                used.push(&audio, &mut Vec::new());
                used.reset(from);
                prop_assert_eq!(&whole[index + 1..], &hear(used, &audio[from as usize..], chunk)[..]);
            }
        }
    }
}
