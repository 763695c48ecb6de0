//! The epoch loop.
//!
//! ```text
//!   poll ─▶ push … work ─▶ commit { offsets, output, state } ─▶ poll …
//!                             └─ not committed: forget all, read again from the last committed epoch
//! ```
//!
//! What an operator knows is always what it restored plus what it read since. So after an epoch that was not committed, and
//! after a crash, the same steps follow: restore, read on.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rechka_log::{
    Append, CommitError, Epoch, Event, Fetched, Log, LogError, Member, Membership, Offset, Partition, TopicPartition,
};

use crate::{EngineError, Result};

/// How long an idle task waits for records before it looks whether it should stop.
const WAIT: Duration = Duration::from_millis(100);
/// An epoch without output lasts at most this long.
const LONGEST_EPOCH: Duration = Duration::from_secs(1);
/// Batches read before an operator works.
const MOST_BATCHES: usize = 64;
/// The pause after an epoch that the log could not commit.
const RETRY: Duration = Duration::from_secs(1);

/// A stateful operator under a [`Task`]. The same records give the same output, whatever the epochs.
pub trait Operator: Send {
    /// Takes a partition: restores what the last committed epoch left, where `offset` is the next record to come.
    fn assigned(&mut self, partition: Partition, offset: Offset) -> Result<()>;
    /// Forgets a partition.
    fn revoked(&mut self, partition: Partition);
    /// Takes records. Each comes once, in order.
    fn push(&mut self, fetched: &Fetched) -> Result<()>;
    /// Works on what was pushed; true when there is more to do at once.
    fn work(&mut self) -> Result<bool>;
    /// What this epoch writes besides its offsets: output and changes of state.
    fn output(&mut self) -> Result<Vec<Append>>;
    /// Whether [`Operator::output`] has something that others wait for.
    fn is_urgent(&self) -> bool;
    /// The epoch with the last [`Operator::output`] is durable.
    fn committed(&mut self);
    /// Whether the operator has enough to do with a partition's records for now.
    fn is_congested(&self, partition: Partition) -> bool;
    /// The log could not do something; the task tries again.
    fn failed(&mut self, error: &LogError);
}

/// Runs an operator over the partitions of one topic that a consumer group gives it.
pub struct Task<O> {
    log: Arc<dyn Log>,
    group: Arc<str>,
    topic: Arc<str>,
    operator: O,
    member: Box<dyn Member>,
    assigned: BTreeSet<Partition>,
    paused: BTreeSet<Partition>,
    /// The next offsets of what was pushed since the last commit.
    offsets: BTreeMap<Partition, Offset>,
    last_commit: Instant,
}

impl<O: Operator> Task<O> {
    /// Joins `group` to read `topic`.
    pub fn new(log: Arc<dyn Log>, group: Arc<str>, topic: Arc<str>, operator: O) -> Result<Self> {
        let membership = Membership {
            group: group.clone(),
            topics: vec![topic.clone()],
        };
        Ok(Task {
            member: log.join(membership)?,
            log,
            group,
            topic,
            operator,
            assigned: BTreeSet::new(),
            paused: BTreeSet::new(),
            offsets: BTreeMap::new(),
            last_commit: Instant::now(),
        })
    }

    /// Runs until `stop` is set or nothing more can be done. What was done by then is committed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut busy = false;
        while !stop.load(Ordering::Relaxed) {
            match self.turn(busy) {
                Ok(more) => busy = more,
                Err(EngineError::Log(error)) if !matches!(error, LogError::Closed) => self.recover(&error, stop)?,
                Err(error) => return Err(error),
            }
        }
        self.commit()
    }

    fn turn(&mut self, busy: bool) -> Result<bool> {
        self.read(busy)?;
        let more = self.operator.work()?;
        if self.operator.is_urgent() || self.last_commit.elapsed() >= LONGEST_EPOCH {
            self.commit()?;
        }
        self.push_back()?;
        Ok(more)
    }

    /// Reads what is there; with nothing else to do, waits for it.
    fn read(&mut self, busy: bool) -> Result<()> {
        let mut wait = if busy { Duration::ZERO } else { WAIT };
        for _ in 0..MOST_BATCHES {
            match self.member.poll(wait)? {
                Event::Batch(fetched) => {
                    self.operator.push(&fetched)?;
                    self.offsets.insert(fetched.from.partition, fetched.next_offset());
                    if self.operator.is_congested(fetched.from.partition) {
                        return self.push_back();
                    }
                }
                Event::Assigned(partitions) => {
                    for partition in partitions {
                        let offset = self.committed_offset(partition)?;
                        self.assigned.insert(partition);
                        self.offsets.remove(&partition);
                        self.operator.assigned(partition, offset)?;
                    }
                }
                Event::Revoked(partitions) => {
                    self.commit()?;
                    partitions.into_iter().for_each(|partition| self.forget(partition));
                }
                Event::CaughtUp => return Ok(()),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.last_commit = Instant::now();
        let appends = self.operator.output()?;
        if appends.is_empty() && self.offsets.is_empty() {
            return Ok(());
        }
        let offsets = std::mem::take(&mut self.offsets);
        let offsets = offsets
            .into_iter()
            .map(|(partition, offset)| (self.partition(partition), offset));
        let epoch = Epoch {
            offsets: offsets.collect(),
            appends,
        };
        match self.member.commit(epoch) {
            Ok(()) => {
                self.operator.committed();
                Ok(())
            }
            Err(CommitError::Fenced(partition)) => {
                tracing::warn!(partition, "another member has this partition now");
                self.forget(partition);
                self.rewind()
            }
            Err(CommitError::Log(error)) => Err(error.into()),
        }
    }

    /// After an error of the log: waits, and goes back to the last committed epoch.
    fn recover(&mut self, error: &LogError, stop: &AtomicBool) -> Result<()> {
        tracing::error!(%error, "the log failed; trying again from the last committed epoch");
        self.operator.failed(error);
        let since = Instant::now();
        while since.elapsed() < RETRY && !stop.load(Ordering::Relaxed) {
            thread::sleep(WAIT.min(RETRY));
        }
        match self.rewind() {
            Err(EngineError::Log(LogError::Closed)) => Err(LogError::Closed.into()),
            // It will be tried again.
            Err(EngineError::Log(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets everything since the last committed epoch.
    fn rewind(&mut self) -> Result<()> {
        self.offsets.clear();
        for partition in self.assigned.clone() {
            self.operator.revoked(partition);
        }
        for partition in self.assigned.clone() {
            let offset = self.committed_offset(partition)?;
            self.member.seek(&self.partition(partition), offset)?;
            self.operator.assigned(partition, offset)?;
        }
        Ok(())
    }

    fn forget(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
        self.paused.remove(&partition);
        self.offsets.remove(&partition);
        self.operator.revoked(partition);
    }

    /// Stops reading partitions that the operator has enough of, and goes on with the others.
    fn push_back(&mut self) -> Result<()> {
        for partition in self.assigned.clone() {
            let congested = self.operator.is_congested(partition);
            if congested && self.paused.insert(partition) {
                self.member.pause(&[self.partition(partition)])?;
            } else if !congested && self.paused.remove(&partition) {
                self.member.resume(&[self.partition(partition)])?;
            }
        }
        Ok(())
    }

    fn committed_offset(&self, partition: Partition) -> Result<Offset> {
        let partition = self.partition(partition);
        let start = self.log.offsets(&partition)?.start;
        Ok(self
            .log
            .committed(&self.group, &partition)?
            .map_or(start, |offset| offset.max(start)))
    }

    fn partition(&self, partition: Partition) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), partition)
    }
}
