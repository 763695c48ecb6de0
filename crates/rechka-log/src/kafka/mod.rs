//! The log on Apache Kafka.
//!
//! ```text
//! append ─▶ queue (bounded) ─▶ one thread ─▶ a transaction ─▶ acks
//! member ─ poll ◀─ a queue for each partition ◀─ consumer ◀─ group (KIP-848, or classic)
//!        └ commit ─▶ a transaction { appends, the group's offsets } ─▶ fenced by the group's generation
//! reader ─ poll ◀─ a queue for each partition ◀─ consumer with an assignment of its own
//! ```
//!
//! All records are written in transactions and read committed. A record is Kafka's record (`records.rs`), so that other programs
//! write and read the same topics. Offsets have holes, where control records lie; where a partition ends is looked up
//! (`ends.rs`). Requests of the client block: no thread of an async runtime may make them.
mod admin;
mod appender;
mod block;
mod client;
mod connection;
mod ends;
mod error;
mod holders;
mod liveness;
mod log;
mod member;
mod options;
mod reader;
mod records;
mod security;
mod shared;
mod stream;
mod subscription;
mod token;
mod topics;
mod transaction;
mod transactor;
mod watch;

pub use log::KafkaLog;
pub use options::KafkaOptions;
