//! Records of a batch as Kafka's, and back.
//!
//! | here | in Kafka |
//! |---|---|
//! | no key, an empty key | null, empty |
//! | an empty value | empty; null in a compacted topic, where it deletes the key |
//! | a timestamp before 1970-01-01 00:00:00.001 | 1 ms, and the header `rechka.timestamp`: the client takes 0 for "now", the brokers refuse what is before |
//! | headers | the same, in order; a null value becomes an empty one |
use std::panic::{self, AssertUnwindSafe};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
    producer::BaseRecord,
};

use crate::{BatchBuilder, RecordRef, TopicPartition};

/// The header of a timestamp that Kafka can't keep: its decimal digits.
const TIMESTAMP: &str = "rechka.timestamp";
/// The earliest timestamp that Kafka keeps.
pub(super) const EARLIEST: i64 = 1;

/// A record as it is sent. `tombstones`: the topic is compacted.
pub(super) fn encode<'a>(
    to: &'a TopicPartition,
    record: &RecordRef<'a>,
    tombstones: bool,
    opaque: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let early = record.timestamp < EARLIEST;
    let mut headers = None;
    if early || record.headers().next().is_some() {
        let mut all = OwnedHeaders::new();
        for (key, value) in record.headers() {
            all = all.insert(Header {
                key,
                value: Some(value),
            });
        }
        if early {
            let digits = record.timestamp.to_string();
            all = all.insert(Header {
                key: TIMESTAMP,
                value: Some(&digits),
            });
        }
        headers = Some(all);
    }
    BaseRecord {
        topic: &to.topic,
        partition: Some(to.partition as i32),
        payload: Some(record.value).filter(|value| !(tombstones && value.is_empty())),
        key: record.key,
        timestamp: Some(record.timestamp.max(EARLIEST)),
        headers,
        delivery_opaque: opaque,
    }
}

/// Adds a record that came. Fails with what is wrong with it: other programs write to Kafka too.
pub(super) fn decode(message: &BorrowedMessage<'_>, batch: &mut BatchBuilder) -> Result<(), String> {
    let value = message.payload().unwrap_or_default();
    let mut timestamp = message.timestamp().to_millis().unwrap_or_default();
    // The client panics at header names that are not UTF-8.
    let headers = panic::catch_unwind(AssertUnwindSafe(|| {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        headers
            .map(|header| (header.key, header.value.unwrap_or_default()))
            .collect::<Vec<_>>()
    }));
    let Ok(mut headers) = headers else {
        return Err("the name of a header is not UTF-8".to_owned());
    };
    headers.retain(|(name, value)| {
        let early = (*name == TIMESTAMP)
            .then(|| std::str::from_utf8(value).ok()?.parse().ok())
            .flatten();
        timestamp = early.unwrap_or(timestamp);
        early.is_none()
    });
    let pushed = batch.push(message.key(), value, timestamp, &headers);
    pushed.map_err(|error| error.to_string())
}
