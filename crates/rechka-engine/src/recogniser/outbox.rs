//! What an epoch writes, by topic and partition.
use std::{collections::BTreeMap, ops::Range, sync::Arc};

use rechka_log::{
    Append, BatchBuilder, Header, MAX_RECORD_BYTES, Offset, Partition, RecordRef, Result, TopicPartition,
};
use rechka_types::{Partial, Transcript, headers};

use super::topics::Topics;

/// Bytes after which a batch is complete and another one begins.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of output that should be committed before more is read.
const ENOUGH_BYTES: usize = 8 << 20;
/// Bytes that a dead letter's own headers may take.
const HEADER_BYTES: usize = 4096;

/// Records by partition.
#[derive(Default)]
struct Batches(BTreeMap<Partition, Vec<BatchBuilder>>);

impl Batches {
    fn push(
        &mut self,
        partition: Partition,
        key: Option<&[u8]>,
        value: &[u8],
        timestamp: i64,
        headers: &[Header<'_>],
    ) -> Result<()> {
        let batches = self.0.entry(partition).or_default();
        if batches
            .last()
            .is_none_or(|batch| batch.bytes() + value.len() > BATCH_BYTES)
        {
            batches.push(BatchBuilder::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(key, value, timestamp, headers)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.0.values().flatten().map(BatchBuilder::bytes).sum()
    }
}

/// Records that wait for the epoch's end.
pub(super) struct Outbox {
    query: Arc<str>,
    topics: Topics,
    transcripts: Batches,
    dead: Batches,
    /// Ends of sessions, into the audio itself.
    ends: Batches,
    state: Batches,
    /// These don't wait: they go out by themselves.
    partials: Batches,
}

impl Outbox {
    pub fn new(query: Arc<str>, topics: Topics) -> Self {
        Outbox {
            query,
            topics,
            transcripts: Batches::default(),
            dead: Batches::default(),
            ends: Batches::default(),
            state: Batches::default(),
            partials: Batches::default(),
        }
    }

    pub fn transcript(&mut self, partition: Partition, transcript: &Transcript, timestamp: i64) -> Result<()> {
        let key = transcript.session.as_bytes();
        self.transcripts
            .push(partition, Some(key), &json(transcript), timestamp, &[])
    }

    pub fn partial(&mut self, partition: Partition, partial: &Partial, timestamp: i64) -> Result<()> {
        if self.topics.partials.is_none() {
            return Ok(());
        }
        let key = partial.session.as_bytes();
        self.partials.push(partition, Some(key), &json(partial), timestamp, &[])
    }

    /// A record of the audio topic that could not be processed, as it was, with headers that say why and where it was.
    pub fn dead(&mut self, partition: Partition, offset: Offset, record: &RecordRef<'_>, reason: &str) -> Result<()> {
        let why = self.why(partition, offset..offset + 1, reason);
        let size = |headers: &[Header<'_>]| {
            headers
                .iter()
                .map(|(name, value)| name.len() + value.len() + 16)
                .sum::<usize>()
        };
        let mut headers: Vec<Header<'_>> = record.headers().collect();
        let (mut key, mut value) = (record.key, record.value);
        if key.map_or(0, <[u8]>::len) + value.len() + size(&headers) + HEADER_BYTES > MAX_RECORD_BYTES {
            // It has no room for the reason: its offset tells where it is whole.
            key = key.filter(|key| key.len() <= HEADER_BYTES);
            value = &value[..value.len().min(MAX_RECORD_BYTES / 2)];
            headers.clear();
        }
        headers.extend(why.iter().map(|(name, value)| (*name, value.as_bytes())));
        self.dead.push(partition, key, value, record.timestamp, &headers)
    }

    /// Records of the audio topic that are damaged: one empty record with headers that say why and where they were.
    pub fn lost(&mut self, partition: Partition, offsets: Range<Offset>, reason: &str, timestamp: i64) -> Result<()> {
        let why = self.why(partition, offsets, reason);
        let headers = why.each_ref().map(|(name, value)| (*name, value.as_bytes()));
        self.dead.push(partition, None, &[], timestamp, &headers)
    }

    /// The end of a session whose audio does not say it.
    pub fn end(&mut self, partition: Partition, session: &str, timestamp: i64) -> Result<()> {
        let end = [(headers::CONTROL, headers::END.as_bytes())];
        self.ends
            .push(partition, Some(session.as_bytes()), &[], timestamp, &end)
    }

    /// The state of a session; an empty value: nothing is known of it any more.
    pub fn state(&mut self, partition: Partition, session: &str, value: &[u8], timestamp: i64) -> Result<()> {
        self.state
            .push(partition, Some(session.as_bytes()), value, timestamp, &[])
    }

    /// Whether others wait for what is in it.
    pub fn is_urgent(&self) -> bool {
        [&self.transcripts, &self.dead, &self.ends]
            .iter()
            .any(|batches| !batches.0.is_empty())
    }

    /// Whether so much waits that it should be written first.
    pub fn is_full(&self) -> bool {
        self.transcripts.bytes() + self.dead.bytes() + self.state.bytes() > ENOUGH_BYTES
    }

    /// Takes what the epoch writes: output and state.
    pub fn epoch(&mut self) -> (Vec<Append>, Vec<Append>) {
        let mut output = appends_to(&self.topics.transcripts, &mut self.transcripts);
        output.append(&mut appends_to(&self.topics.dead().into(), &mut self.dead));
        output.append(&mut appends_to(&self.topics.audio, &mut self.ends));
        (output, appends_to(&self.topics.state, &mut self.state))
    }

    /// Takes what is written at once.
    pub fn partials(&mut self) -> Vec<Append> {
        match &self.topics.partials {
            Some(topic) => appends_to(topic, &mut self.partials),
            None => Vec::new(),
        }
    }

    /// The headers of a dead letter: why, and where it was.
    fn why(&self, partition: Partition, offsets: Range<Offset>, reason: &str) -> [(&'static str, String); 6] {
        [
            ("dead.query", self.query.to_string()),
            ("dead.reason", reason.to_owned()),
            ("dead.topic", self.topics.audio.to_string()),
            ("dead.partition", partition.to_string()),
            ("dead.offset", offsets.start.to_string()),
            ("dead.records", (offsets.end - offsets.start).to_string()),
        ]
    }

    /// Forgets a partition.
    pub fn forget(&mut self, partition: Partition) {
        for batches in [
            &mut self.transcripts,
            &mut self.dead,
            &mut self.ends,
            &mut self.state,
            &mut self.partials,
        ] {
            batches.0.remove(&partition);
        }
    }
}

fn appends_to(topic: &Arc<str>, batches: &mut Batches) -> Vec<Append> {
    let batches = std::mem::take(batches).0.into_iter();
    let each = batches.flat_map(|(partition, batches)| batches.into_iter().map(move |batch| (partition, batch)));
    each.map(|(partition, batch)| Append {
        to: TopicPartition::new(topic.clone(), partition),
        batch: batch.finish(),
    })
    .collect()
}

/// Structs of text, numbers and lists can always be written.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
