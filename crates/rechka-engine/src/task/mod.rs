//! The epoch loop.
//!
//! ```text
//!   poll ─▶ push … work ─▶ commit { offsets, output, state } ─▶ poll …
//!                             └─ not committed: forget all, read again from the last committed epoch
//! ```
//!
//! What a processor knows is always what it restored plus what it read since. So after an epoch that was not committed, and
//! after a crash, the same steps follow: restore, read on.
mod commit;
mod place;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rechka_log::{Event, Fetched, Log, LogError, Member, Membership, Offset, Partition, TopicPartition};

pub use settings::Settings;

use place::may_pass;

use crate::{EngineError, Processor, Result, Step};

/// How long an idle task waits for records at most before it looks whether it should stop.
const WAIT: Duration = Duration::from_millis(100);
/// How long it waits at least, however short its epochs are.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Batches read before a processor works.
const MOST_BATCHES: usize = 64;
/// Why records are lost that nothing has damaged.
const DELETED: &str = "they were deleted before they were read, by the topic's retention or by hand";
/// The pause after an epoch that the log could not commit.
const RETRY: Duration = Duration::from_secs(1);

/// Runs a processor over the partitions that a consumer group gives it.
pub struct Task<P> {
    log: Arc<dyn Log>,
    settings: Settings,
    processor: P,
    member: Box<dyn Member>,
    /// The partitions that are ours, and the next offset of each topic that the processor has restored.
    assigned: BTreeMap<Partition, Option<Vec<Offset>>>,
    congested: BTreeSet<Partition>,
    /// Whether the group has said which partitions are ours.
    settled: bool,
    /// Whether anything was pushed since the last commit.
    pushed: bool,
    /// Whether an epoch was refused, so that what the processor knows is not what is committed.
    fenced: bool,
    /// The failure of the log that was told last, until an epoch is committed.
    trouble: Option<String>,
    last_commit: Instant,
}

impl<P: Processor> Task<P> {
    /// Joins the group.
    pub fn new(log: Arc<dyn Log>, settings: Settings, processor: P) -> Result<Self> {
        let membership = Membership {
            group: settings.group.clone(),
            topics: settings.topics.clone(),
            worker: settings.worker.clone(),
            number: settings.number,
        };
        Ok(Task {
            member: log.join(membership)?,
            log,
            settings,
            processor,
            assigned: BTreeMap::new(),
            congested: BTreeSet::new(),
            settled: false,
            pushed: false,
            fenced: false,
            trouble: None,
            last_commit: Instant::now(),
        })
    }

    /// Runs until `stop` is set or nothing more can be done. What was done by then is committed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut busy = false;
        while !stop.load(Ordering::Relaxed) {
            match self.turn(busy) {
                Ok(more) => busy = more,
                Err(EngineError::Log(error)) if may_pass(&error) => self.recover(error, stop)?,
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
        let more = self.processor.work()?;
        let due = self.last_commit.elapsed() >= self.settings.epoch;
        if due || self.processor.is_urgent() || self.processor.is_full() {
            self.commit()?;
        }
        self.push_back()?;
        Ok(more)
    }

    /// Reads what is there; with nothing else to do, waits for it.
    fn read(&mut self, busy: bool) -> Result<()> {
        let mut wait = match busy || self.fenced {
            true => Duration::ZERO,
            // Not longer than to the end of the epoch, if one has begun.
            false if self.pushed => self.settings.epoch.saturating_sub(self.last_commit.elapsed()).min(WAIT),
            false => self.settings.epoch.clamp(SHORTEST_WAIT, WAIT),
        };
        for _ in 0..MOST_BATCHES {
            let event = match self.member.poll(wait) {
                Err(LogError::Damaged { from, offsets, reason }) => {
                    self.lose(&from, offsets, &reason)?;
                    continue;
                }
                polled => polled?,
            };
            match event {
                Event::Batch(fetched) => {
                    let partition = fetched.from.partition;
                    self.push(fetched)?;
                    if self.processor.is_full() {
                        return Ok(());
                    }
                    if self.processor.is_congested(partition) {
                        return self.push_back();
                    }
                }
                Event::Assigned(partitions) => {
                    self.assigned
                        .extend(partitions.into_iter().map(|partition| (partition, None)));
                    self.restore()?;
                    self.settle();
                }
                Event::Revoked(partitions) => {
                    let committed = self.commit();
                    // Ours no longer, whether or not their last epoch is committed.
                    partitions.into_iter().for_each(|partition| self.forget(partition));
                    return committed;
                }
                Event::CaughtUp => {
                    self.settle();
                    self.processor.caught_up();
                    return Ok(());
                }
                Event::Nothing => return Ok(()),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.processor.settled();
        }
    }

    /// Gives the processor what was read, up to where reading is to stop.
    fn push(&mut self, mut fetched: Fetched) -> Result<()> {
        let from = fetched.from.clone();
        self.look_for_deleted(&from, fetched.base_offset)?;
        // What is not restored yet is sought back to when it is.
        let Some(Some(next)) = self.assigned.get_mut(&from.partition) else {
            return Ok(());
        };
        let Some(topic) = self.settings.topics.iter().position(|topic| *topic == from.topic) else {
            return Ok(());
        };
        let end = self.settings.ends.get(&from).copied().unwrap_or(Offset::MAX);
        if fetched.next_offset() >= end {
            self.member.pause(std::slice::from_ref(&from))?;
            let most = usize::try_from(end.saturating_sub(fetched.base_offset)).unwrap_or(usize::MAX);
            fetched.batch = fetched.batch.slice(0..most);
            if fetched.batch.is_empty() {
                return Ok(());
            }
        }
        self.settings.failpoint.reach(Step::Push)?;
        self.processor.push(&fetched)?;
        next[topic] = fetched.next_offset();
        self.pushed = true;
        self.settings.failpoint.reach(Step::Pushed)
    }

    /// Tells the processor of records before an offset that are not there any more. Not every hole is one: offsets need not be dense.
    fn look_for_deleted(&mut self, from: &TopicPartition, offset: Offset) -> Result<()> {
        let topic = self.settings.topics.iter().position(|topic| *topic == from.topic);
        let Some((Some(next), topic)) = self.assigned.get(&from.partition).zip(topic) else {
            return Ok(());
        };
        let next = next[topic];
        if next < offset {
            let start = self.log.start(from)?.min(offset);
            self.lose(from, next..start, DELETED)?;
        }
        Ok(())
    }

    /// Tells the processor what can't be read, up to where reading is to stop.
    fn lose(&mut self, from: &TopicPartition, mut offsets: Range<Offset>, reason: &str) -> Result<()> {
        let Some(Some(next)) = self.assigned.get_mut(&from.partition) else {
            return Ok(());
        };
        let Some(topic) = self.settings.topics.iter().position(|topic| *topic == from.topic) else {
            return Ok(());
        };
        let end = self.settings.ends.get(from).copied().unwrap_or(Offset::MAX);
        if offsets.end >= end {
            self.member.pause(std::slice::from_ref(from))?;
        }
        offsets = offsets.start.max(next[topic])..offsets.end.min(end);
        if !offsets.is_empty() {
            self.processor.lost(from, offsets.clone(), reason)?;
            next[topic] = offsets.end;
            self.pushed = true;
        }
        Ok(())
    }

    /// Stops reading partitions that the processor has enough of, and goes on with the others.
    fn push_back(&mut self) -> Result<()> {
        for partition in self.assigned.keys().copied().collect::<Vec<_>>() {
            let congested = self.processor.is_congested(partition);
            if congested && self.congested.insert(partition) {
                self.member.pause(&self.partitions(partition))?;
            } else if !congested && self.congested.remove(&partition) {
                self.member.resume(&self.partitions(partition))?;
            }
        }
        Ok(())
    }

    /// The partitions of this number, one of each topic.
    fn partitions(&self, partition: Partition) -> Vec<TopicPartition> {
        let topics = self.settings.topics.iter();
        topics
            .map(|topic| TopicPartition::new(topic.clone(), partition))
            .collect()
    }
}
