//! The thread that keeps the standbys of a stage.
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Fetched, Partition, Reader};

use super::{Replica, Standbys};
use crate::{EngineError, Result, StandbyStatistics, stage::StageContext};

/// How often it is looked who holds what.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for records before it is looked whether to stop.
const WAIT: Duration = Duration::from_millis(100);

/// Keeps the standbys until the query stops.
pub(crate) fn follow(context: &StageContext) {
    let (Some(standbys), Some(topic), Some((input, _))) = (&context.standbys, &context.state, context.topics.first())
    else {
        return;
    };
    let mut follower = Follower {
        context,
        standbys,
        input,
        topic,
        reader: None,
        following: BTreeSet::new(),
        given_up: BTreeSet::new(),
        looked: None,
    };
    while !context.stop.load(Ordering::Relaxed) {
        if let Err(error) = follower.turn() {
            tracing::warn!(query = &*context.query.name, %error, "standbys wait");
            follower.reader = None;
            follower.following.clear();
            thread::sleep(WAIT);
        }
    }
}

struct Follower<'a> {
    context: &'a StageContext,
    standbys: &'a Standbys,
    /// What the stage reads.
    input: &'a Arc<str>,
    /// Where the state is.
    topic: &'a Arc<str>,
    reader: Option<Box<dyn Reader>>,
    /// What the reader reads.
    following: BTreeSet<Partition>,
    /// What can't be kept: the task itself will say why.
    given_up: BTreeSet<Partition>,
    looked: Option<Instant>,
}

impl Follower<'_> {
    fn turn(&mut self) -> Result<()> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.looked = Some(Instant::now());
            self.choose()?;
        }
        let Some(reader) = &mut self.reader else {
            thread::sleep(WAIT);
            return Ok(());
        };
        match reader.poll(WAIT)? {
            Some(fetched) => self.take(&fetched),
            None => Ok(()),
        }
    }

    /// Looks what is to be kept, and reads that.
    fn choose(&mut self) -> Result<()> {
        let (context, standbys) = (self.context, self.standbys);
        let holders = context.log.holders(&context.group(), self.input)?;
        let mut wanted = standbys.wanted(&holders);
        wanted.retain(|partition| !self.given_up.contains(partition));
        standbys.retain(&wanted);
        let kept = standbys.replicas();
        for &partition in wanted.iter().filter(|partition| !kept.contains_key(partition)) {
            // What was followed before has gone to a task, and may come back.
            self.following.remove(&partition);
            standbys.insert(partition, Replica::new(context, self.topic, partition)?);
        }
        if self.following != wanted {
            self.reader = self.open()?;
            self.following = wanted;
        }
        context.meter.standbys(context.number, self.statistics());
        Ok(())
    }

    /// A reader of what the replicas have not read.
    fn open(&self) -> Result<Option<Box<dyn Reader>>> {
        let mut from = Vec::new();
        for replica in self.standbys.replicas().values() {
            let replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
            from.extend(replica.as_ref().map(Replica::next));
        }
        match from.is_empty() {
            true => Ok(None),
            false => Ok(Some(self.context.log.read(from)?)),
        }
    }

    fn take(&mut self, fetched: &Fetched) -> Result<()> {
        let partition = fetched.from.partition;
        let Some(replica) = self.standbys.replicas().remove(&partition) else {
            return Ok(());
        };
        let mut replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match &mut *replica {
            // It may have begun anew since the reader was opened.
            Some(replica) if fetched.base_offset >= replica.next().1 => replica.take(self.context, fetched),
            _ => Ok(()),
        };
        if let Err(error) = taken {
            if let EngineError::Log(error) = error {
                return Err(error.into());
            }
            tracing::warn!(query = &*self.context.query.name, partition, %error, "no standby can be kept");
            *replica = None;
            self.given_up.insert(partition);
        }
        Ok(())
    }

    fn statistics(&self) -> Vec<StandbyStatistics> {
        let mut all = Vec::new();
        for (partition, replica) in self.standbys.replicas() {
            let replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(replica) = &*replica {
                all.push(StandbyStatistics {
                    stage: self.context.number,
                    partition,
                    state_bytes: replica.state_bytes(),
                    epoch: replica.epoch(),
                });
            }
        }
        all
    }
}
