//! Scripted audio for tests: words are runs of a constant level, and a decoder that reads them.
//!
//! The decoder is a pure function of a request. Like a real one it is unsure of what touches the end of its audio, and its
//! times, case and punctuation differ a little from request to request.
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;

use super::VoiceActivity;
use crate::{
    audio::VadEvent,
    transcript::{Segment, Word},
    whisper::{Ended, Hypothesis, Request},
};

const RATE: f64 = 16_000.0;
/// The level of noise that is taken for speech.
const NOISE: f32 = -1.0;
/// A run shorter than this is not a word.
const SHORTEST: usize = 1_600;

/// A stretch of scripted audio.
#[derive(Clone, Debug)]
pub enum Part {
    /// A word, for so many milliseconds, and a gap after it.
    Word { id: u32, ms: u32, gap_ms: u32 },
    /// Nothing, for so many milliseconds.
    Pause(u32),
    /// Noise that is taken for speech.
    Noise(u32),
    /// Samples that never came.
    Lost(u64),
}

/// Audio that arrives.
#[derive(Clone, Debug)]
pub enum Input {
    Samples(Vec<f32>),
    Lost(u64),
}

pub fn level(id: u32) -> f32 {
    (id + 1) as f32 / 64.0
}

/// The inputs of a script, neighbouring audio joined.
pub fn render(script: &[Part]) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut audio = Vec::new();
    for part in script {
        let mut run = |level: f32, ms: u32| audio.extend(std::iter::repeat_n(level, ms as usize * 16));
        match *part {
            Part::Word { id, ms, gap_ms } => {
                run(level(id), ms);
                run(0.0, gap_ms);
            }
            Part::Pause(ms) => run(0.0, ms),
            Part::Noise(ms) => run(NOISE, ms),
            Part::Lost(samples) => {
                inputs.push(Input::Samples(std::mem::take(&mut audio)));
                inputs.push(Input::Lost(samples));
            }
        }
    }
    inputs.push(Input::Samples(audio));
    inputs
}

/// What is said in a script.
pub fn words(script: &[Part]) -> Vec<String> {
    script
        .iter()
        .filter_map(|part| match part {
            Part::Word { id, .. } => Some(format!("w{id}")),
            _ => None,
        })
        .collect()
}

/// Scripts of ordinary speech: words of a fifth of a second or more with gaps, and pauses.
pub fn speech() -> impl Strategy<Value = Vec<Part>> {
    let word = (0_u32..4, 200_u32..600, 60_u32..250).prop_map(|(id, ms, gap_ms)| Part::Word { id, ms, gap_ms });
    let part = prop_oneof![
        30 => word,
        2 => (700_u32..3_000).prop_map(Part::Pause),
        1 => (3_000_u32..45_000).prop_map(Part::Pause),
    ];
    prop::collection::vec(part, 0..120)
}

/// Scripts of anything at all.
pub fn anything() -> impl Strategy<Value = Vec<Part>> {
    let word = (0_u32..4, 20_u32..900, 0_u32..250).prop_map(|(id, ms, gap_ms)| Part::Word { id, ms, gap_ms });
    let part = prop_oneof![
        30 => word,
        1 => (20_000_u32..25_000).prop_map(|ms| Part::Word { id: 9, ms, gap_ms: 0 }),
        4 => (0_u32..3_000).prop_map(Part::Pause),
        1 => (3_000_u32..45_000).prop_map(Part::Pause),
        2 => (10_u32..20_000).prop_map(Part::Noise),
        2 => (1_u64..100_000).prop_map(Part::Lost),
    ];
    prop::collection::vec(part, 0..60)
}

/// Whatever is not zero is speech; it ends after half a second of zeros.
#[derive(Default)]
pub struct Level {
    at: u64,
    frame: Vec<f32>,
    origin: u64,
    speech_until: Option<u64>,
}

impl VoiceActivity for Level {
    fn reset(&mut self, at: u64) {
        *self = Level {
            at,
            origin: at,
            ..Level::default()
        };
    }

    fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>) {
        for sample in samples {
            self.frame.push(*sample);
            self.at += 1;
            if self.frame.len() < 256 {
                continue;
            }
            let loud = self.frame.iter().any(|sample| *sample != 0.0);
            self.frame.clear();
            match self.speech_until {
                None if loud => {
                    self.speech_until = Some(self.at);
                    let sample = (self.at - 256).saturating_sub(1_600).max(self.origin);
                    events.push(VadEvent::SpeechStart { sample });
                }
                Some(_) if loud => self.speech_until = Some(self.at),
                Some(until) if self.at >= until + 8_000 => {
                    self.speech_until = None;
                    events.push(VadEvent::SpeechEnd { sample: until + 1_600 });
                }
                _ => {}
            }
        }
    }
}

/// Reads the words of a request. `steady`: without moods, but for what touches the end.
pub fn decode(request: &Request<'_>, steady: bool) -> Hypothesis {
    let audio = request.audio;
    let mut hasher = DefaultHasher::new();
    let mixed = audio.iter().fold(0_u64, |mixed, sample| {
        (mixed ^ u64::from(sample.to_bits())).wrapping_mul(0x100_0000_01b3)
    });
    (audio.len(), mixed, request.prompt).hash(&mut hasher);
    let mood = hasher.finish();

    let mut words = Vec::new();
    let mut at = 0;
    for run in audio.chunk_by(|a, b| a == b) {
        let (start, end) = (at, at + run.len());
        at = end;
        if run[0] <= 0.0 || run.len() < SHORTEST {
            continue;
        }
        let mood = mood.rotate_left(words.len() as u32 * 7);
        let id = (run[0] * 64.0) as u32 - 1;
        let unsure = end == audio.len() && !mood.is_multiple_of(3);
        let mut word = if unsure { format!("x{id}") } else { format!("w{id}") };
        if !steady && mood.is_multiple_of(5) {
            word = format!("{},", word.to_uppercase());
        }
        if !steady && mood.is_multiple_of(31) {
            continue;
        }
        let jitter = ((mood % 61) as f64 - 30.0) / 1000.0;
        let bound = |time: f64| time.clamp(0.0, audio.len() as f64 / RATE);
        words.push(Word {
            word,
            start: bound(start as f64 / RATE + jitter),
            end: bound(end as f64 / RATE + jitter / 2.0),
            probability: (mood % 100) as f32 / 100.0,
        });
    }
    if let Some(align_att) = request.options.align_att
        && !align_att.last
    {
        let reach = audio.len() as f64 / RATE - align_att.threshold as f64 * 0.02;
        let heard = words.iter().take_while(|word| word.end < reach).count();
        words.truncate(heard.saturating_sub(1));
    }
    // What follows the prefix.
    words.drain(..request.prefix.split_whitespace().count().min(words.len()));
    let segments = words
        .chunks(5)
        .map(|words| Segment {
            start: words[0].start,
            end: words[words.len() - 1].end,
            text: words.iter().map(|word| format!(" {}", word.word)).collect(),
            tokens: vec![],
            temperature: 0.0,
            avg_logprob: -0.1,
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
            words: words.to_vec(),
        })
        .collect();
    Hypothesis {
        language: "en".into(),
        language_probability: 1.0,
        segments,
        no_speech_prob: 0.0,
        temperature: if !steady && mood.is_multiple_of(7) { 0.8 } else { 0.0 },
        ended: Ended::EndOfText,
    }
}
