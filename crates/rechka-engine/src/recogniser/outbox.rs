//! What an epoch writes, by topic and partition.
use std::{collections::BTreeMap, sync::Arc};

use rechka_log::{Append, BatchBuilder, Header, Partition, RecordRef, Result, TopicPartition};
use rechka_types::{Partial, Transcript, topics};

use super::stored::STATE;

/// Records by partition.
type Batches = BTreeMap<Partition, BatchBuilder>;

/// Records that wait for the epoch's end.
#[derive(Default)]
pub(super) struct Outbox {
    transcripts: Batches,
    dead: Batches,
    state: Batches,
    /// These don't wait: they go out by themselves.
    partials: Batches,
}

impl Outbox {
    pub fn transcript(&mut self, partition: Partition, transcript: &Transcript, timestamp: i64) -> Result<()> {
        let key = transcript.session.as_bytes();
        self.transcripts
            .entry(partition)
            .or_default()
            .push(Some(key), &json(transcript), timestamp, &[])
    }

    pub fn partial(&mut self, partition: Partition, partial: &Partial, timestamp: i64) -> Result<()> {
        let key = partial.session.as_bytes();
        self.partials
            .entry(partition)
            .or_default()
            .push(Some(key), &json(partial), timestamp, &[])
    }

    /// A record of the audio topic that could not be processed, as it was, with headers that say why and where it was.
    pub fn dead(&mut self, partition: Partition, offset: u64, record: &RecordRef<'_>, reason: &str) -> Result<()> {
        let (number, offset) = (partition.to_string(), offset.to_string());
        let why: [Header<'_>; 4] = [
            ("dead.reason", reason.as_bytes()),
            ("dead.topic", topics::AUDIO.as_bytes()),
            ("dead.partition", number.as_bytes()),
            ("dead.offset", offset.as_bytes()),
        ];
        let headers: Vec<Header<'_>> = record.headers().chain(why).collect();
        self.dead
            .entry(partition)
            .or_default()
            .push(record.key, record.value, record.timestamp, &headers)
    }

    /// The state of a session; an empty value: nothing is known of it any more.
    pub fn state(&mut self, partition: Partition, session: &str, value: &[u8], timestamp: i64) -> Result<()> {
        let key = session.as_bytes();
        self.state
            .entry(partition)
            .or_default()
            .push(Some(key), value, timestamp, &[])
    }

    /// Whether others wait for what is in it.
    pub fn is_urgent(&self) -> bool {
        !self.transcripts.is_empty() || !self.dead.is_empty()
    }

    /// Takes what the epoch writes.
    pub fn epoch(&mut self) -> Vec<Append> {
        let mut appends = appends_to(topics::TRANSCRIPTS, &mut self.transcripts);
        appends.append(&mut appends_to(&topics::dead(topics::AUDIO), &mut self.dead));
        appends.append(&mut appends_to(STATE, &mut self.state));
        appends
    }

    /// Takes what is written at once.
    pub fn partials(&mut self) -> Vec<Append> {
        appends_to(topics::PARTIALS, &mut self.partials)
    }

    /// Forgets a partition.
    pub fn forget(&mut self, partition: Partition) {
        for batches in [
            &mut self.transcripts,
            &mut self.dead,
            &mut self.state,
            &mut self.partials,
        ] {
            batches.remove(&partition);
        }
    }
}

fn appends_to(topic: &str, batches: &mut Batches) -> Vec<Append> {
    let topic: Arc<str> = topic.into();
    let batches = std::mem::take(batches).into_iter();
    let append = |(partition, batch): (Partition, BatchBuilder)| Append {
        to: TopicPartition::new(topic.clone(), partition),
        batch: batch.finish(),
    };
    batches.map(append).collect()
}

/// Structs of text, numbers and lists can always be written.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
