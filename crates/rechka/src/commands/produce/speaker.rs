//! One session's sound as records.
use std::{collections::VecDeque, sync::Arc};

use anyhow::{Context, Result};
use rechka_log::{Ack, Append, BatchBuilder, Header, Log, TopicPartition, TopicSpec, partition_for_key};
use rechka_types::headers;

use super::now;

/// Frames in a record: 100 ms at 16 kHz.
pub const RECORD: usize = 1_600;
/// Appends under way at once.
const WAITING: usize = 8;

/// The headers of all records: what the samples are.
pub const FORMAT: [Header<'static>; 3] = [
    (headers::ENCODING, b"pcm_s16le"),
    (headers::RATE, b"16000"),
    (headers::CHANNELS, b"1"),
];

/// Appends the sound of a session: 16 kHz mono, under its name as key, with the number of each record's first frame, so that what comes
/// twice is heard once.
pub struct Speaker {
    log: Arc<dyn Log>,
    to: TopicPartition,
    session: String,
    /// The number of the next frame.
    frame: u64,
    acks: VecDeque<Ack>,
}

impl Speaker {
    /// Goes on with a session at a frame.
    pub fn new(log: Arc<dyn Log>, topic: &TopicSpec, session: &str, frame: u64) -> Self {
        Self {
            log,
            to: partition(topic, session),
            session: session.to_owned(),
            frame,
            acks: VecDeque::new(),
        }
    }

    /// Appends samples.
    pub fn say(&mut self, samples: &[i16]) -> Result<()> {
        let mut batch = BatchBuilder::new();
        for record in samples.chunks(RECORD) {
            let bytes: Vec<u8> = record.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            self.push(&mut batch, &bytes, &[])?;
            self.frame += record.len() as u64;
        }
        self.append(batch)?;
        self.settle(WAITING)
    }

    /// Appends the session's end; returns when all of it is durable.
    pub fn end(mut self) -> Result<()> {
        let mut batch = BatchBuilder::new();
        self.push(&mut batch, &[], &[(headers::CONTROL, headers::END.as_bytes())])?;
        self.append(batch)?;
        self.settle(0)
    }

    /// Waits until at most so many appends are under way.
    pub fn settle(&mut self, most: usize) -> Result<()> {
        while self.acks.len() > most {
            if let Some(ack) = self.acks.pop_front() {
                ack.wait()
                    .with_context(|| format!("writing session {}", self.session))?;
            }
        }
        Ok(())
    }

    /// Seconds that were said.
    pub fn seconds(&self) -> f64 {
        self.frame as f64 / f64::from(rechka_speech::audio::SAMPLE_RATE)
    }

    fn push(&self, batch: &mut BatchBuilder, value: &[u8], more: &[Header<'_>]) -> Result<()> {
        let frame = self.frame.to_string();
        let headers = [&FORMAT[..], &[(headers::FRAME, frame.as_bytes())], more].concat();
        Ok(batch.push(Some(self.session.as_bytes()), value, now(), &headers)?)
    }

    fn append(&mut self, batch: BatchBuilder) -> Result<()> {
        if !batch.is_empty() {
            let append = Append {
                to: self.to.clone(),
                batch: batch.finish(),
            };
            self.acks.push_back(self.log.append(vec![append])?);
        }
        Ok(())
    }
}

/// Where a session's records are.
pub fn partition(topic: &TopicSpec, session: &str) -> TopicPartition {
    let number = partition_for_key(session.as_bytes(), topic.partitions);
    TopicPartition::new(topic.name.clone(), number)
}

/// As 16-bit integers; what lies outside of ±1 is cut.
pub fn integers(samples: &[f32]) -> impl Iterator<Item = i16> {
    // A cast from float saturates.
    samples.iter().map(|sample| (sample * 32_768.0).round() as i16)
}
