//! Records that can't be used, and rows for which something can't be computed.
use std::{collections::BTreeMap, ops::Range, sync::Arc};

use rechka_formats::Bad;
use rechka_log::{Append, Fetched, Header, MAX_RECORD_BYTES, Offset, Partition, RecordRef, TopicPartition};
use rechka_sql::plan::Query;
use rechka_types::topics;

use super::{appender::Appender, readable};
use crate::{Result, operators::Dead};

/// Bytes that a dead letter's own headers may take.
const HEADER_BYTES: usize = 4096;

/// The dead letters of an epoch, to the topics `<topic>.dead`. Each query that can't use a record writes one, with its name.
pub(super) struct DeadLetters {
    query: Arc<Query>,
    letters: BTreeMap<TopicPartition, Appender>,
}

impl DeadLetters {
    pub fn new(query: &Arc<Query>) -> Self {
        DeadLetters {
            query: query.clone(),
            letters: BTreeMap::new(),
        }
    }

    fn appender(&mut self, topic: &str, partition: Partition) -> &mut Appender {
        let to = TopicPartition::new(topics::dead(topic), partition);
        self.letters.entry(to.clone()).or_insert_with(|| Appender::new(to))
    }

    /// Adds records of a batch. They go out as they came, with headers that say why and where they were.
    pub fn push(&mut self, fetched: &Fetched, bad: &[Bad]) -> Result<()> {
        for bad in bad {
            if let Some(record) = fetched.batch.get(bad.record) {
                let offset = fetched.base_offset + bad.record as u64;
                self.push_record(&fetched.from, offset, &record, &bad.reason)?;
            }
        }
        Ok(())
    }

    fn push_record(&mut self, from: &TopicPartition, offset: u64, record: &RecordRef<'_>, reason: &str) -> Result<()> {
        let (number, offset) = (from.partition.to_string(), offset.to_string());
        let reason = truncated(reason, HEADER_BYTES / 2);
        let query = self.query.name.clone();
        let why: [Header<'_>; 5] = [
            ("dead.query", query.as_bytes()),
            ("dead.reason", reason.as_bytes()),
            ("dead.topic", from.topic.as_bytes()),
            ("dead.partition", number.as_bytes()),
            ("dead.offset", offset.as_bytes()),
        ];
        let size = |headers: &[Header<'_>]| {
            let sizes = headers.iter().map(|(name, value)| name.len() + value.len() + 16);
            sizes.sum::<usize>()
        };
        let mut headers: Vec<Header<'_>> = record.headers().collect();
        let (mut key, mut value) = (record.key, record.value);
        if key.map_or(0, <[u8]>::len) + value.len() + size(&headers) + HEADER_BYTES > MAX_RECORD_BYTES {
            // It has no room for the reason: its offset tells where it is whole.
            key = key.filter(|key| key.len() <= HEADER_BYTES);
            value = &value[..value.len().min(MAX_RECORD_BYTES / 2)];
            headers.clear();
        }
        headers.extend(why);
        let letters = self.appender(&from.topic, from.partition);
        letters.push(key, value, record.timestamp, &headers)
    }

    /// Adds one letter for records that are damaged in the log, without their values.
    pub fn lost(&mut self, from: &TopicPartition, offsets: &Range<Offset>, reason: &str, timestamp: i64) -> Result<()> {
        let (number, offset) = (from.partition.to_string(), offsets.start.to_string());
        let records = (offsets.end - offsets.start).to_string();
        let query = self.query.name.clone();
        let headers: [Header<'_>; 6] = [
            ("dead.query", query.as_bytes()),
            ("dead.reason", truncated(reason, HEADER_BYTES / 2).as_bytes()),
            ("dead.topic", from.topic.as_bytes()),
            ("dead.partition", number.as_bytes()),
            ("dead.offset", offset.as_bytes()),
            ("dead.records", records.as_bytes()),
        ];
        let letters = self.appender(&from.topic, from.partition);
        letters.push(None, &[], timestamp, &headers)
    }

    /// Adds a row that can't be told back to a record, as JSON: to the dead letters of the query's own topic.
    pub fn push_row(&mut self, task: Partition, dead: &Dead, timestamp: i64) -> Result<()> {
        let (mut value, _) = readable::encode(&dead.row)?;
        value.truncate(MAX_RECORD_BYTES - HEADER_BYTES);
        let query = self.query.clone();
        let headers: [Header<'_>; 2] = [
            ("dead.query", query.name.as_bytes()),
            ("dead.reason", truncated(&dead.reason, HEADER_BYTES / 2).as_bytes()),
        ];
        let letters = self.appender(&query.result.topic, task % query.result.partitions);
        letters.push(None, &value, timestamp, &headers)
    }

    /// Takes the letters of the epoch.
    pub fn take(&mut self) -> Vec<Append> {
        let letters = std::mem::take(&mut self.letters).into_values();
        letters.flat_map(Appender::finish).collect()
    }
}

/// The beginning of a text, at most so many bytes.
fn truncated(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
