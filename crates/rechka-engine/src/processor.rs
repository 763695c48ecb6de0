//! What a task runs.
use std::ops::Range;

use rechka_log::{Append, Fetched, LogError, Offset, Partition, TopicPartition};

use crate::Result;

/// What a crash may do to the output of a query: to its result, its late rows and its dead letters. What its own stages tell each other, and
/// their state, is always committed with the offsets; so a row may come twice or not at all, but never with wrong values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing: offsets, state and output are committed together.
    #[default]
    ExactlyOnce,
    /// The output of an epoch may come twice: it is written before the offsets and the state.
    AtLeastOnce,
    /// The output of an epoch may be lost: it is written after the offsets and the state.
    AtMostOnce,
}

/// What an epoch writes besides its offsets.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For others.
    pub output: Vec<Append>,
    /// For the processor itself, and others of the same query: always committed with the offsets.
    pub state: Vec<Append>,
}

/// What reads and writes under a [`Task`](crate::Task). The same records give the same output, whatever the epochs.
pub trait Processor: Send {
    /// Takes a partition: restores what the last committed epoch left, where `next` are the next records to come, one for each
    /// topic of the task.
    fn assigned(&mut self, partition: Partition, next: &[Offset]) -> Result<()>;
    /// Forgets a partition.
    fn revoked(&mut self, partition: Partition);
    /// Takes records. Each comes once, in order.
    fn push(&mut self, fetched: &Fetched) -> Result<()>;
    /// Records are damaged, or were deleted before they were read: they will not be pushed. A processor that can't do without them gives the error back, and stands still.
    fn lost(&mut self, from: &TopicPartition, offsets: Range<Offset>, reason: &str) -> Result<()> {
        let damaged = LogError::Damaged {
            from: from.clone(),
            offsets,
            reason: reason.to_owned(),
        };
        Err(damaged.into())
    }
    /// The group has said which partitions are ours, be it none, and they are restored.
    fn settled(&mut self) {}
    /// Everything that is in the log by now has been pushed.
    fn caught_up(&mut self) {}
    /// Works on what was pushed; true when there is more to do at once.
    fn work(&mut self) -> Result<bool> {
        Ok(false)
    }
    /// Ends the epoch.
    fn output(&mut self) -> Result<Outcome>;
    /// Whether [`Processor::output`] has something that others wait for, so that the epoch should end now.
    fn is_urgent(&self) -> bool;
    /// The epoch with the last [`Processor::output`] is durable, or there was nothing to write.
    fn committed(&mut self) -> Result<()>;
    /// Whether so much output waits that it should be committed before more is read.
    fn is_full(&self) -> bool;
    /// Whether the processor has enough to do with a partition's records for now.
    fn is_congested(&self, _partition: Partition) -> bool {
        false
    }
    /// The log could not do something; the task tries again.
    fn failed(&mut self, error: &LogError);
}
