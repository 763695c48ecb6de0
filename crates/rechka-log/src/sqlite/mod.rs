//! The embedded log: one SQLite file, one writer process, any number of reading processes.
//!
//! ```text
//! producers ─ compress ─▶ queue (bounded) ─▶ writer thread ─▶ one transaction ─▶ WAL, synced ─▶ acks, then readers
//!                                                                  │
//!                            checkpoint thread: WAL ─▶ log.sqlite ◀┘        compaction thread: replacements ─▶ queue
//! ```
//!
//! # On disk
//! | file | what |
//! |---|---|
//! | `log.sqlite` | the log; `application_id` "RLog", `user_version` = the format's number, WAL mode |
//! | `log.sqlite-wal`, `-shm` | SQLite's write-ahead log and its index |
//! | `log.lock` | locked by the writer as long as it lives; holds its process id |
//! | `log.wake` | written after every commit, so that the kernel wakes the readers of other processes |
//!
//! Tables (`schema.rs`): `topic` and `partition` (with the partition's start offset), `batch` (one row per batch: its offsets,
//! latest timestamp, codec, checksum), `blob` (the encoded batch, `blob.rs` and the crate's `Batch`), `committed` (next offset
//! by group and partition). Batches and blobs are apart so that searches by offset or time touch no blob, and blobs are
//! appended to the end of one tree whatever their partition.
//!
//! # Invariants
//! - Nothing is acknowledged or shown to a reader of this process before its transaction is durable (`synchronous=FULL`).
//! - Only the writer thread changes the file, except for the checkpoint thread, which moves committed pages.
//! - A partition's end is the `next_offset` of its last batch, or its start if it has none. So the last batch is deleted only
//!   together with everything before it, and compaction does not touch it.
//! - `[base_offset, next_offset)` of the batches of a partition do not overlap and grow.
//! - A batch before its partition's start, or of no partition, is garbage: nobody reads it, and it is freed in small steps.
//! - After a write error that leaves open what the disk holds, nothing is written until the log is opened again.
mod assignment;
mod blob;
mod catalog;
mod checkpoint;
mod compaction;
mod cursor;
mod error;
mod group;
mod lock;
mod log;
mod maintenance;
mod member;
mod prepare;
mod queue;
mod reader;
mod schema;
mod shared;
mod store;
mod topics;
mod watch;
mod writer;

use crate::signal;

pub use log::{Options, SqliteLog};
