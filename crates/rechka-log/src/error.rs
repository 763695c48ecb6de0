//! What can go wrong, whose fault it is, and whether to try again.
use std::ops::Range;

use crate::{Offset, TopicPartition};

/// A log's result.
pub type Result<T> = std::result::Result<T, LogError>;

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The topic does not exist.
    #[error("there is no topic {0:?}: create it first, or see `rechka topics`")]
    UnknownTopic(String),
    /// The partition does not exist.
    #[error("topic {topic:?} has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
    },
    /// The topic exists with another declaration.
    #[error("topic {topic:?} exists with another declaration: {difference}")]
    TopicDiffers {
        /// The topic.
        topic: String,
        /// What differs.
        difference: String,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Another member of the group has the name.
    #[error(
        "another process is the worker {worker:?} of the group {group:?}: give each process a name of its own (--worker NAME, or RECHKA_WORKER), or none"
    )]
    NameTaken {
        /// The group.
        group: String,
        /// The worker's name.
        worker: String,
    },
    /// Another process writes to the log.
    #[error(
        "the log in {path} is open for writing in process {pid}: stop that process first, or open the log for reading only"
    )]
    InUse {
        /// The log's directory.
        path: String,
        /// The process, or "unknown".
        pid: String,
    },
    /// What lies where the log should be is something else, or of another version. It was left as it is.
    #[error("{0}")]
    Foreign(String),
    /// The log was opened for reading only.
    #[error("the log is open for reading only")]
    ReadOnly,
    /// The log, or its writer, has been closed.
    #[error("the log is closed")]
    Closed,
    /// Stored data is damaged: what was wrong with it, and where.
    #[error("damaged data: {0}")]
    Corrupt(String),
    /// Some records are damaged; those around them can be read.
    #[error("damaged data: {from}, offsets {} to {}: {reason}", offsets.start, offsets.end)]
    Damaged {
        /// Where they are.
        from: TopicPartition,
        /// Which they are; there is at least one.
        offsets: Range<Offset>,
        /// What is wrong with them.
        reason: String,
    },
    /// A partition is not the one that was read before.
    #[error(
        "{from} begins anew at offset {found}, and was read up to {position} before: the topic was deleted and made again, or its brokers \
         have lost records"
    )]
    Replaced {
        /// The partition.
        from: TopicPartition,
        /// Where it was to be read on.
        position: Offset,
        /// The offset that came instead.
        found: Offset,
    },
    /// Storage failed; nothing of the request was written.
    #[error("{0}")]
    Storage(String),
}

/// Why an epoch was not committed. Nothing of it was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A partition of the epoch belongs to another member now: forget its state, poll for the new assignment.
    #[error("fenced: partition {0} belongs to another member now")]
    Fenced(u32),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}
