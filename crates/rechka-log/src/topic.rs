//! Names and settings of topics.
use std::{fmt, sync::Arc, time::Duration};

/// Position of a record in its partition. The first record has offset 0; offsets grow, and may have holes.
pub type Offset = u64;

/// Number of a partition in its topic, from 0.
pub type Partition = u32;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number in the topic.
    pub partition: Partition,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: Partition) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What a topic keeps of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cleanup {
    /// Records are deleted by age and size (see [`Retention`]).
    #[default]
    Delete,
    /// At least the last record of every key is kept; a record with an empty value deletes its key.
    Compact,
}

/// Bounds on what a partition keeps; `None` is unbounded. What lies outside is deleted in whole batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retention {
    /// Oldest age kept, by the records' timestamps.
    pub age: Option<Duration>,
    /// Largest stored size of one partition in bytes.
    pub bytes: Option<u64>,
}

/// The declaration of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name: 1 to 249 of `a-z A-Z 0-9 . _ -`, as in Kafka.
    pub name: Arc<str>,
    /// Number of partitions, at least 1.
    pub partitions: Partition,
    /// What is kept of the past.
    pub cleanup: Cleanup,
    /// Bounds on what is kept.
    pub retention: Retention,
}

impl TopicSpec {
    /// A topic that keeps everything.
    pub fn new(name: impl Into<Arc<str>>, partitions: Partition) -> Self {
        Self {
            name: name.into(),
            partitions,
            cleanup: Cleanup::Delete,
            retention: Retention::default(),
        }
    }
}

/// The partition of a key among `partitions`: murmur2 as in Kafka's Java client (`DefaultPartitioner`), so that foreign producers agree.
pub fn partition_for_key(key: &[u8], partitions: Partition) -> Partition {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ (key.len() as u32);
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    for (i, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    (hash & 0x7fff_ffff) % partitions.max(1)
}
