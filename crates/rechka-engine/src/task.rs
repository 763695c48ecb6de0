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
    /// Whether so much output waits that it should be committed before more is read.
    fn is_full(&self) -> bool;
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
    /// The partitions that are ours, and the next offset of each that the operator has restored.
    assigned: BTreeMap<Partition, Option<Offset>>,
    paused: BTreeSet<Partition>,
    /// Whether anything was pushed since the last commit.
    pushed: bool,
    /// Whether an epoch was refused, so that what the operator knows is not what is committed.
    fenced: bool,
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
            assigned: BTreeMap::new(),
            paused: BTreeSet::new(),
            pushed: false,
            fenced: false,
            last_commit: Instant::now(),
        })
    }

    /// Runs until `stop` is set or nothing more can be done. What was done by then is committed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut busy = false;
        while !stop.load(Ordering::Relaxed) {
            match self.turn(busy) {
                Ok(more) => busy = more,
                Err(EngineError::Log(error)) if !matches!(error, LogError::Closed) => self.recover(error, stop)?,
                Err(error) => return Err(error),
            }
        }
        self.commit()
    }

    fn turn(&mut self, busy: bool) -> Result<bool> {
        self.read(busy)?;
        if self.fenced {
            self.rewind()?;
        }
        let more = self.operator.work()?;
        if self.operator.is_urgent() || self.last_commit.elapsed() >= LONGEST_EPOCH {
            self.commit()?;
        }
        self.push_back()?;
        Ok(more)
    }

    /// Reads what is there; with nothing else to do, waits for it.
    fn read(&mut self, busy: bool) -> Result<()> {
        let mut wait = if busy || self.fenced { Duration::ZERO } else { WAIT };
        for _ in 0..MOST_BATCHES {
            match self.member.poll(wait)? {
                Event::Batch(fetched) => {
                    let partition = fetched.from.partition;
                    // What is not restored yet is sought back to when it is.
                    if let Some(Some(next)) = self.assigned.get_mut(&partition) {
                        self.operator.push(&fetched)?;
                        *next = fetched.next_offset();
                        self.pushed = true;
                    }
                    if self.operator.is_full() {
                        return Ok(());
                    }
                    if self.operator.is_congested(partition) {
                        return self.push_back();
                    }
                }
                Event::Assigned(partitions) => {
                    self.assigned
                        .extend(partitions.into_iter().map(|partition| (partition, None)));
                    self.restore()?;
                }
                Event::Revoked(partitions) => {
                    let committed = self.commit();
                    // Ours no longer, whether or not their last epoch is committed.
                    partitions.into_iter().for_each(|partition| self.forget(partition));
                    return committed;
                }
                Event::CaughtUp => return Ok(()),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// Commits the epoch with the place of every partition, so that it is refused whole when one of them is lost.
    fn commit(&mut self) -> Result<()> {
        if self.fenced {
            return Ok(()); // Nothing since the refused epoch may be written.
        }
        self.last_commit = Instant::now();
        let appends = self.operator.output()?;
        if appends.is_empty() && !self.pushed {
            return Ok(());
        }
        let places = self
            .assigned
            .iter()
            .filter_map(|(partition, next)| Some((*partition, (*next)?)));
        let offsets = places
            .map(|(partition, next)| (self.partition(partition), next))
            .collect();
        match self.member.commit(Epoch { offsets, appends }) {
            Ok(()) => {
                self.pushed = false;
                self.operator.committed();
                Ok(())
            }
            Err(CommitError::Fenced(partition)) => {
                tracing::warn!(partition, "another member has this partition now");
                self.forget(partition);
                self.fenced = true;
                Ok(())
            }
            Err(CommitError::Log(error)) => Err(error.into()),
        }
    }

    /// After an error of the log: waits, and goes back to the last committed epoch, until that succeeds.
    fn recover(&mut self, mut error: LogError, stop: &AtomicBool) -> Result<()> {
        loop {
            tracing::error!(%error, "the log failed; trying again from the last committed epoch");
            self.operator.failed(&error);
            // Nothing of what the operator made since then may be committed, should the task stop here.
            self.fenced = true;
            let since = Instant::now();
            while since.elapsed() < RETRY {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                thread::sleep(WAIT);
            }
            match self.rewind() {
                Err(EngineError::Log(again)) if !matches!(again, LogError::Closed) => error = again,
                result => return result,
            }
        }
    }

    /// Forgets everything since the last committed epoch, and restores that.
    fn rewind(&mut self) -> Result<()> {
        for (partition, next) in &mut self.assigned {
            *next = None;
            self.operator.revoked(*partition);
        }
        self.restore()?;
        self.pushed = false;
        self.fenced = false;
        Ok(())
    }

    /// Restores the partitions that are not.
    fn restore(&mut self) -> Result<()> {
        let missing: Vec<Partition> = self
            .assigned
            .iter()
            .filter(|(_, next)| next.is_none())
            .map(|(partition, _)| *partition)
            .collect();
        for partition in missing {
            let offset = self.committed_offset(partition)?;
            self.member.seek(&self.partition(partition), offset)?;
            self.operator.assigned(partition, offset)?;
            self.assigned.insert(partition, Some(offset));
        }
        Ok(())
    }

    fn forget(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
        self.paused.remove(&partition);
        self.operator.revoked(partition);
    }

    /// Stops reading partitions that the operator has enough of, and goes on with the others.
    fn push_back(&mut self) -> Result<()> {
        for partition in self.assigned.keys().copied().collect::<Vec<_>>() {
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
