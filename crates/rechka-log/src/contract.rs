//! The contract that every implementation of the log keeps.
//!
//! Each MUST has a number, and the conformance kit (feature `conformance`) has at least one check of it, named there.
//!
//! Topics
//! 1. Creating a topic again with the same declaration MUST change nothing; with another it MUST fail and change nothing.
//! 2. Every operation on a topic or partition that does not exist MUST fail with an error that says so.
//! 3. Deleting a topic MUST delete its records and, at once or soon, the offsets committed for it: made again, it is new.
//!
//! Appending and reading
//! 4. A record MUST come back as it went in: key (absent, empty or not), value, timestamp, headers in order.
//! 5. The records of a partition MUST have growing offsets in the order of the appends of each producer; they need not be
//!    dense. The [`Ack`] MUST give the offset of the first record of each append.
//! 6. An append of several parts MUST be written whole or not at all; a wrong part (an empty batch, an unknown partition, a
//!    record without key for a compacted topic) refuses the whole.
//! 7. What is acknowledged MUST be there after the log is opened again, and visible to every reader of the same [`Log`] that
//!    asks from then on; to those of other processes soon.
//! 8. A reader MUST give every committed record from its offset on once and in order, beginning inside a batch if need be,
//!    and MUST give nothing else. Waiting, it is woken by the commit. When all is read it MUST say so, at the latest when nothing
//!    has come for a while.
//! 9. [`Log::offsets`] MUST span what is there: from the earliest record to after the last acknowledged one. So a reader that
//!    has come to the end that it was told has read everything, wherever the next record will be.
//! 10. [`Log::offset_at`] MUST find the first record of a time or later, or the end.
//!
//! The past
//! 11. [`Log::delete_before`] MUST delete no record from the offset on; a reader before the start MUST move on to it.
//! 12. Retention by age and by size MUST delete what lies outside its bounds, oldest first, and nothing else; it may wait until
//!     all of a larger unit of records lies outside.
//! 13. Compaction MUST keep the last record of every key, its offset and the order.
//!
//! Groups
//! 14. Every partition number MUST be assigned to exactly one member once the group has settled, the same number of all
//!     topics to the same one. A member MUST start from the committed offset, or the earliest record.
//! 15. An epoch MUST be committed whole or not at all: its offsets and its appends.
//! 16. A member MUST be able to commit for revoked partitions until its next poll.
//! 17. A member that has lost a partition MUST be fenced: its epoch fails with [`CommitError::Fenced`], and nothing of it is
//!     written. So does an epoch that names no partition, if the member has lost any since its last poll.
//! 18. A member that is dropped MUST leave its partitions to the others. What it did not commit is read again by them.
//! 19. Groups MUST NOT see each other's offsets.
//! 20. [`Member::seek`], [`Member::pause`] and [`Member::resume`] MUST act on the next poll. [`Event::CaughtUp`] MUST only be
//!     told when the assigned partitions that are not paused are read to their end, as far as the log has heard: what was
//!     written just now elsewhere may be on its way.
//! 21. Of two members of a group with the same lasting name and number one MUST be refused with [`LogError::NameTaken`](crate::LogError::NameTaken),
//!     at once or when it polls, and the other go on. When that one is gone, the name is free, at the latest after the time that the
//!     group takes to notice.
//! 22. [`Log::holders`] MUST name nobody but who committed last; whether it names that one at once or soon is for the log.
use std::{ops::Range, sync::Arc, time::Duration};

use crate::{Batch, CommitError, Offset, Partition, Result, TopicPartition, TopicSpec, Worker};

/// The offsets a partition holds: `start` is that of the earliest record kept, or before it; `end` is after the last one, and the
/// next record gets it, or a larger one.
pub type OffsetRange = Range<Offset>;

/// Records for one partition.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where they go.
    pub to: TopicPartition,
    /// The records, in order.
    pub batch: Batch,
}

/// Records as they came from one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where they come from.
    pub from: TopicPartition,
    /// Offset of the first record of `batch`; the others follow without holes.
    pub base_offset: Offset,
    /// The records, in order, at least one.
    pub batch: Batch,
}

impl Fetched {
    /// The offset after the last record: what to commit once the batch is processed.
    pub fn next_offset(&self) -> Offset {
        self.base_offset + self.batch.len() as Offset
    }
}

/// The log: topics, durable appends, readers and group members. Shared by all threads.
pub trait Log: Send + Sync + 'static {
    /// Whether the log can be used now, as far as that is known without asking; if not, why. It gets over that by itself.
    fn ready(&self) -> Result<()> {
        Ok(())
    }
    /// Creates a topic; a topic of the same declaration is left as it is.
    /// Fails with [`LogError::TopicDiffers`](crate::LogError::TopicDiffers) when it exists otherwise.
    fn create_topic(&self, spec: &TopicSpec) -> Result<()>;
    /// Deletes a topic with its records and the offsets that groups committed for it.
    fn delete_topic(&self, topic: &str) -> Result<()>;
    /// All topics, by name.
    fn topics(&self) -> Result<Vec<TopicSpec>>;
    /// The offsets a partition holds now.
    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange>;
    /// Where [`Log::offsets`] starts, for less where the end takes a search.
    fn start(&self, partition: &TopicPartition) -> Result<Offset> {
        Ok(self.offsets(partition)?.start)
    }
    /// Whether records lie in a partition that may become readable, or not: a transaction is under way.
    fn is_undecided(&self, _partition: &TopicPartition) -> Result<bool> {
        Ok(false)
    }
    /// The first offset whose record has a timestamp (milliseconds) at or after `timestamp`, or the end.
    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset>;
    /// Deletes records before `offset`, at least in whole batches; [`Log::offsets`] starts at `offset` or before it afterwards.
    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()>;
    /// The next offset that `group` has committed for a partition.
    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>>;
    /// Who committed last for each partition of a topic in `group`, and so holds it if nobody has taken it since. Empty where the log
    /// does not keep that: all members are of one process then.
    fn holders(&self, _group: &str, _topic: &str) -> Result<Vec<Option<Holder>>> {
        Ok(Vec::new())
    }
    /// Appends atomically: all or nothing. Returns at once (without parts, with an [`Ack`] that is ready); the [`Ack`] tells when it is durable, and where it went.
    /// Bounded: blocks while too much is waiting to be written.
    fn append(&self, appends: Vec<Append>) -> Result<Ack>;
    /// A reader of committed records from the given offsets on.
    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>>;
    /// Joins a consumer group.
    fn join(&self, membership: Membership) -> Result<Box<dyn Member>>;
}

/// A plain reader of partitions: no group, no commits.
pub trait Reader: Send {
    /// The next records, waiting for at most `wait` (woken by the commit that brings them). `None`: nothing came.
    /// A position before the earliest kept record moves on to it.
    ///
    /// Damaged records are told once, as [`LogError::Damaged`](crate::LogError::Damaged); the next poll goes on behind them.
    fn poll(&mut self, wait: Duration) -> Result<Option<Fetched>>;
    /// After a poll that gave nothing: whether all is read that there was, as far as the log has heard. If not, the log has not
    /// answered yet, and polling again is the way to what is there.
    fn is_at_end(&self) -> bool;
}

/// How to join a consumer group.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The group.
    pub group: Arc<str>,
    /// The topics the group shares out. All partitions with the same number go to the same member (co-partitioning).
    pub topics: Vec<Arc<str>>,
    /// Who joins. If its name lasts, whoever joins under it soon after is taken for the same member, and gets its partitions back.
    pub worker: Worker,
    /// The member's number among those of the worker in this group.
    pub number: u32,
}

impl Membership {
    /// The only member of a worker that nobody knows.
    pub fn new(group: impl Into<Arc<str>>, topics: Vec<Arc<str>>) -> Self {
        Self {
            group: group.into(),
            topics,
            worker: Worker::unnamed(),
            number: 0,
        }
    }

    /// How others see the member.
    pub fn holder(&self) -> Holder {
        Holder {
            worker: self.worker.name().into(),
            number: self.number,
        }
    }
}

/// A member of a group, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// Its worker's name.
    pub worker: Arc<str>,
    /// Its number among those of the worker.
    pub number: u32,
}

/// What a member is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// These partitions, by number over all topics of the group, are the member's from here on. It reads from the committed offsets, or the earliest.
    Assigned(Vec<Partition>),
    /// These partitions go to another member. The member may still [`Member::commit`] for them before its next poll, not after.
    Revoked(Vec<Partition>),
    /// Records.
    Batch(Fetched),
    /// Nothing came in time, and every assigned partition that is not paused is read to its end, as far as the log has heard.
    CaughtUp,
    /// Nothing came in time: the group has not assigned anything yet, or the log does not answer.
    Nothing,
}

/// One epoch's result: committed whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Epoch {
    /// The next offset to read, by partition. Name every partition whose output `appends` holds, even where nothing more was
    /// read: by the partitions it names an epoch is fenced.
    pub offsets: Vec<(TopicPartition, Offset)>,
    /// What the epoch writes, state changelog included.
    pub appends: Vec<Append>,
}

/// A member of a consumer group that reads, and commits what it made of what it read, atomically.
pub trait Member: Send {
    /// The next event, waiting for at most `wait`.
    ///
    /// Damaged records are told once, as [`LogError::Damaged`](crate::LogError::Damaged); the next poll goes on behind them.
    fn poll(&mut self, wait: Duration) -> Result<Event>;
    /// Commits offsets and output in one durable transaction; returns when it is durable.
    /// A member that lost a partition is fenced: [`CommitError::Fenced`], and nothing of the epoch is written.
    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError>;
    /// Reads a partition again from `offset` on (after an aborted epoch).
    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()>;
    /// Stops and goes on reading some partitions (back-pressure); the member stays in its group.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Goes on reading paused partitions.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;
}

/// A pending append. Dropping it does not cancel the append.
#[must_use = "an append is durable only when its Ack says so"]
pub struct Ack(pub(crate) oneshot::Receiver<Result<Vec<Offset>>>);

impl Ack {
    /// Blocks until the append is durable: the offset of the first record of each append, in order.
    pub fn wait(self) -> Result<Vec<Offset>> {
        self.0.recv().unwrap_or(Err(crate::LogError::Closed))
    }
}

impl Future for Ack {
    type Output = Result<Vec<Offset>>;
    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0)
            .poll(context)
            .map(|received| received.unwrap_or(Err(crate::LogError::Closed)))
    }
}
