//! The state of a task as its changelog tells it.
//!
//! A restore reads it at once; a standby reads it little by little while another process has the task, and a restore then reads the
//! rest. So a standby can't be anything else than what a restore gives. It only reads what is committed. Entries have the numbers of
//! their epochs: where one is missing, nothing counts until a snapshot comes, and if none does, everything is read again.
use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Fetched, Offset, Partition, TopicPartition};

use super::{
    changelog::{Changelog, Entry, Progress, Reading},
    context::StageContext,
    dag::Dag,
};
use crate::Result;

/// How long to wait for records that the log says are there.
const WAIT: Duration = Duration::from_millis(100);
/// How long the state may be behind the offsets that were committed with it: the log may show one of them sooner.
const BEHIND: Duration = Duration::from_secs(10);
/// The pause before it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is known of a task's state.
pub(super) struct Replica {
    name: TopicPartition,
    dag: Dag,
    /// As of the last entry.
    last: Option<Progress>,
    /// When that was written, in milliseconds since 1970.
    written: i64,
    changelog: Changelog,
    reading: Reading,
    /// The next record of the changelog.
    next: Offset,
    /// An entry is missing.
    is_torn: bool,
}

/// A state that is restored.
pub(super) struct Restored {
    pub dag: Dag,
    /// None: nothing was ever kept.
    pub last: Option<Progress>,
    /// When that was written, in milliseconds since 1970.
    pub written: i64,
    /// To go on with.
    pub changelog: Changelog,
}

impl Replica {
    /// Of a partition, whose state is kept in this topic. It has read nothing yet.
    pub fn new(context: &StageContext, topic: &Arc<str>, partition: Partition) -> Result<Self> {
        let name = TopicPartition::new(topic.clone(), partition);
        Ok(Replica {
            dag: context.new_dag()?,
            last: None,
            written: 0,
            changelog: Changelog::new(name.clone(), context.fingerprint, context.snapshot_bytes),
            reading: Reading::new(name.clone()),
            next: 0,
            is_torn: false,
            name,
        })
    }

    /// Where reading goes on.
    pub fn next(&self) -> (TopicPartition, Offset) {
        (self.name.clone(), self.next)
    }

    /// Takes records of the changelog, in order.
    pub fn take(&mut self, context: &StageContext, fetched: &Fetched) -> Result<()> {
        let (dag, last, torn) = (&mut self.dag, &mut self.last, &mut self.is_torn);
        let (changelog, when) = (&mut self.changelog, &mut self.written);
        self.reading.take(fetched, |entry| {
            if entry.fingerprint != context.fingerprint {
                return Err(context.unfit("its text has been changed since".to_owned()));
            }
            changelog.count(&entry);
            let Entry {
                progress,
                snapshot,
                deltas,
                written,
                ..
            } = entry;
            if snapshot {
                *dag = context.new_dag()?;
            }
            let follows = progress.epoch == last.as_ref().map_or(0, |last| last.epoch) + 1;
            *torn = !snapshot && (*torn || !follows);
            if !*torn {
                for (node, delta) in &deltas {
                    dag.restore(*node, delta)?;
                }
            }
            (*last, *when) = (Some(progress), written);
            Ok(())
        })?;
        self.next = fetched.next_offset();
        Ok(())
    }

    /// Reads what is committed by now.
    fn catch_up(&mut self, context: &StageContext) -> Result<()> {
        let held = context.log.offsets(&self.name)?;
        if self.next >= held.end {
            return Ok(());
        }
        let mut reader = context.log.read(vec![(self.name.clone(), self.next.max(held.start))])?;
        while self.next < held.end {
            // What lies before the end is there; None: only holes follow.
            match reader.poll(WAIT)? {
                Some(fetched) => self.take(context, &fetched)?,
                None if reader.is_at_end() => break,
                None => {}
            }
        }
        Ok(())
    }

    /// The state that was committed with the offsets `next`, from which the group goes on.
    pub fn restore(mut self, context: &StageContext, next: &[Offset]) -> Result<Restored> {
        let since = Instant::now();
        let mut is_new = self.last.is_none();
        loop {
            self.catch_up(context)?;
            if self.is_torn && is_new {
                let reason = "an epoch is missing before this".to_owned();
                return Err(self.reading.damaged(self.next, reason));
            }
            if self.is_torn {
                tracing::warn!(state = %self.name, "a standby has missed something, and begins anew");
                self = Replica::new(context, &self.name.topic, self.name.partition)?;
                is_new = true;
                continue;
            }
            match self.check_offsets(context, next)? {
                Fit::Same => {
                    return Ok(Restored {
                        dag: self.dag,
                        last: self.last,
                        written: self.written,
                        changelog: self.changelog,
                    });
                }
                Fit::Behind(_) if since.elapsed() < BEHIND && !context.stop.load(Ordering::Relaxed) => {
                    thread::sleep(LOOK_AGAIN);
                }
                Fit::Behind(reason) | Fit::Other(reason) => return Err(context.unfit(reason)),
            }
        }
    }

    /// Compares the state with the offsets from which the group goes on.
    fn check_offsets(&self, context: &StageContext, next: &[Offset]) -> Result<Fit> {
        for (number, ((topic, _), &next)) in context.topics.iter().zip(next).enumerate() {
            let name = TopicPartition::new(topic.clone(), self.name.partition);
            let start = context.log.offsets(&name)?.start;
            let kept = self.last.as_ref().and_then(|last| last.offsets.get(number));
            return Ok(match kept {
                None if next == start => continue,
                None => Fit::Behind(format!(
                    "it has read {topic:?} up to offset {next}, and kept nothing of that"
                )),
                Some(&kept) if kept == next => continue,
                // What was not read yet has been deleted meanwhile.
                Some(&kept) if kept < next && next == start => continue,
                Some(kept) => {
                    let reason = format!("its state is of offset {kept} of {topic:?}, and it has read up to {next}");
                    match *kept < next {
                        true => Fit::Behind(reason),
                        false => Fit::Other(reason),
                    }
                }
            });
        }
        Ok(Fit::Same)
    }

    /// The number of the last epoch that it has taken.
    pub fn epoch(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.epoch)
    }

    /// Memory of the state, in bytes.
    pub fn state_bytes(&self) -> usize {
        self.dag.state_bytes()
    }
}

/// Whether a state is of the offsets that are committed.
enum Fit {
    Same,
    /// It is of earlier ones.
    Behind(String),
    Other(String),
}
