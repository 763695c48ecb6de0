//! The log: topics, partitions, offsets, consumer groups and transactions, as one small contract.
//!
//! Every layer of Rechka talks to every other through this contract alone. It is Kafka's, reduced to what the system
//! needs: [`Log`] (topics, durable appends, readers), [`Reader`] (a plain reader of partitions) and [`Member`] (a member of a
//! consumer group that reads, and commits what it made of what it read atomically). The contract's MUSTs stand numbered at the
//! head of `contract.rs`; the feature `conformance` has a check for each.
//!
//! [`SqliteLog`] is the embedded implementation: a directory, no server. How it stores and what it keeps true stands at the
//! head of `sqlite/mod.rs`. `KafkaLog` (feature `kafka`) is the one for many machines: an Apache Kafka cluster, see
//! `kafka/mod.rs`.
mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
mod contract;
mod error;
#[cfg(feature = "kafka")]
mod kafka;
mod scan;
mod signal;
mod sqlite;
mod topic;
mod worker;

pub use batch::{Batch, BatchBuilder, Header, Headers, MAX_BATCH_BYTES, MAX_RECORD_BYTES, RecordRef};
pub use contract::{Ack, Append, Epoch, Event, Fetched, Holder, Log, Member, Membership, OffsetRange, Reader};
pub use error::{CommitError, LogError, Result};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaLog, KafkaOptions};
pub use scan::Scan;
pub use sqlite::{Options, SqliteLog};
pub use topic::{Cleanup, Offset, Partition, Retention, TopicPartition, TopicSpec, partition_for_key};
pub use worker::Worker;
