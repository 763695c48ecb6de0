//! People who tell the demo's story of digits at the pace of speech, each from another word on and at another loudness.
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Append, BatchBuilder, Header, Log, Partition, TopicPartition, partition_for_key};
use rechka_types::headers;

use crate::{
    pipeline::{PARTITIONS, Pipeline},
    setup::Setup,
};

const RATE: usize = 16_000;
/// Sample frames of a record: 100 ms.
const CHUNK: usize = RATE / 10;
/// Records of a session in one append, at most: after an outage more have gathered.
const MOST_AT_ONCE: usize = 50;

/// The sessions of a run.
pub struct Speech {
    topic: String,
    story: Vec<f32>,
    sessions: usize,
    /// Records of each session.
    chunks: usize,
    spoken: AtomicU64,
}

impl Speech {
    pub fn new(setup: &Setup, pipeline: &Pipeline) -> Self {
        let bytes: &'static [u8] = include_bytes!("../../crates/rechka/story/story.flac");
        let file = rechka_speech::audio::AudioFile::from_bytes(bytes).unwrap();
        Self {
            topic: pipeline.audio(),
            story: file.flat_map(|chunk| chunk.unwrap()).collect(),
            sessions: setup.sessions,
            chunks: setup.duration.as_secs() as usize * RATE / CHUNK,
            spoken: AtomicU64::new(0),
        }
    }

    /// The sessions' names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.sessions).map(|number| format!("speaker-{number}"))
    }

    /// Seconds, of each session.
    pub fn spoken(&self) -> u64 {
        self.spoken.load(Ordering::Relaxed) * CHUNK as u64 / RATE as u64
    }

    /// At the pace of speech.
    pub fn feed(&self, log: &dyn Log, stop: &AtomicBool) {
        let begun = Instant::now();
        self.append(log, || {
            thread::sleep(Duration::from_secs_f64(CHUNK as f64 / RATE as f64));
            match stop.load(Ordering::Relaxed) {
                true => self.chunks,
                false => (begun.elapsed().as_secs_f64() * RATE as f64) as usize / CHUNK,
            }
        });
    }

    /// All at once.
    pub fn write(&self, log: &dyn Log) {
        self.append(log, || self.chunks);
    }

    /// Appends records as they are due, then the ends of the sessions.
    fn append(&self, log: &dyn Log, mut due: impl FnMut() -> usize) {
        let mut sent = 0;
        while sent < self.chunks {
            let until = due().min(self.chunks).min(sent + MOST_AT_ONCE);
            if until > sent {
                self.append_records(log, |speaker, push| {
                    for chunk in sent..until {
                        push(chunk * CHUNK, &self.samples(speaker, chunk), &[]);
                    }
                });
                sent = until;
                self.spoken.store(sent as u64, Ordering::Relaxed);
            }
        }
        self.append_records(log, |_, push| {
            push(self.chunks * CHUNK, &[], &[(headers::CONTROL, headers::END.as_bytes())])
        });
    }

    /// One append of records of all sessions.
    fn append_records(&self, log: &dyn Log, records: impl Fn(usize, &mut dyn FnMut(usize, &[u8], &[Header<'_>]))) {
        let mut batches = BTreeMap::<Partition, BatchBuilder>::new();
        for (speaker, name) in self.names().enumerate() {
            let batch = batches
                .entry(partition_for_key(name.as_bytes(), PARTITIONS))
                .or_default();
            records(speaker, &mut |frame, bytes, more| {
                let heard = ((frame + CHUNK) * 1000 / RATE) as i64;
                let frame = frame.to_string();
                let format: [Header<'_>; 4] = [
                    (headers::ENCODING, b"pcm_s16le"),
                    (headers::RATE, b"16000"),
                    (headers::CHANNELS, b"1"),
                    (headers::FRAME, frame.as_bytes()),
                ];
                // Not the time of day, so that what is made of it is the same.
                batch
                    .push(Some(name.as_bytes()), bytes, heard, &[&format, more].concat())
                    .unwrap();
            });
        }
        let appends = batches.into_iter().map(|(partition, batch)| Append {
            to: TopicPartition::new(self.topic.as_str(), partition),
            batch: batch.finish(),
        });
        log.append(appends.collect()).unwrap().wait().unwrap();
    }

    fn samples(&self, speaker: usize, chunk: usize) -> Vec<u8> {
        let gain = 1.0 - 0.04 * (speaker % 16) as f32;
        let begin = speaker * 4 * RATE + chunk * CHUNK;
        let samples = (begin..begin + CHUNK).map(|at| self.story[at % self.story.len()] * gain);
        samples
            .flat_map(|sample| ((sample * f32::from(i16::MAX)) as i16).to_le_bytes())
            .collect()
    }
}
