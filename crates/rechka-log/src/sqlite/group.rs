//! Consumer groups of the embedded log: all members are in the writer's process.
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    assignment::{Assignment, MemberId, Notice},
    signal::Signal,
};
use crate::{CommitError, Holder, LogError, Membership, Offset, Partition, Result};

/// All groups that have members.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<Arc<str>, Arc<Group>>>);

/// A group with members.
#[derive(Debug)]
pub(super) struct Group {
    pub name: Arc<str>,
    pub topics: Vec<Arc<str>>,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    assignment: Assignment,
    signals: HashMap<MemberId, Arc<Signal>>,
    /// Of the members whose names last.
    names: HashMap<MemberId, Holder>,
}

/// A member's place in its group.
#[derive(Debug)]
pub(super) struct Seat {
    pub group: Arc<Group>,
    pub member: MemberId,
}

/// The group's side of an epoch's transaction.
#[derive(Debug)]
pub(super) struct Commit {
    pub group: Arc<Group>,
    pub member: MemberId,
    /// Partition, its number in its topic, and the next offset to read.
    pub offsets: Vec<(i64, Partition, Offset)>,
}

impl Groups {
    /// Takes a seat in the group, which is made when it is the first.
    pub(super) fn join(
        &self,
        membership: &Membership,
        partitions: Partition,
        handover: Duration,
        signal: &Arc<Signal>,
    ) -> Result<Seat> {
        let Membership {
            group: name, topics, ..
        } = membership;
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let group = match groups.entry(Arc::clone(name)) {
            // Under the lock of all groups no member can leave: a group without members is a past one.
            Entry::Occupied(entry) if !entry.get().lock().assignment.is_empty() => {
                if entry.get().topics != *topics {
                    return Err(LogError::Invalid(format!(
                        "the members of group {name:?} read {:?}: join with the same topics, or another group",
                        entry.get().topics
                    )));
                }
                Arc::clone(entry.get())
            }
            entry => {
                let group = Arc::new(Group {
                    name: Arc::clone(name),
                    topics: topics.clone(),
                    started: Instant::now(),
                    state: Mutex::new(State {
                        assignment: Assignment::new(partitions, handover),
                        signals: HashMap::new(),
                        names: HashMap::new(),
                    }),
                });
                entry.insert_entry(Arc::clone(&group));
                group
            }
        };
        let member = {
            let mut state = group.lock();
            let holder = Some(membership.holder()).filter(|_| membership.worker.lasts());
            if let Some(holder) = &holder
                && state.names.values().any(|taken| taken == holder)
            {
                return Err(LogError::NameTaken {
                    group: name.to_string(),
                    worker: holder.worker.to_string(),
                });
            }
            let member = state.assignment.join(group.now());
            state.names.extend(holder.map(|holder| (member, holder)));
            state.signals.insert(member, Arc::clone(signal));
            state.wake();
            member
        };
        Ok(Seat { group, member })
    }

    /// Gives the seat up; what it owned goes to the others.
    pub(super) fn leave(&self, seat: &Seat) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = seat.group.lock();
        state.signals.remove(&seat.member);
        state.names.remove(&seat.member);
        state.assignment.leave(seat.member, seat.group.now());
        state.wake();
        if state.assignment.is_empty()
            && groups
                .get(&seat.group.name)
                .is_some_and(|group| Arc::ptr_eq(group, &seat.group))
        {
            groups.remove(&seat.group.name);
        }
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl State {
    /// Lets the members look whether something is new for them.
    fn wake(&self) {
        for signal in self.signals.values() {
            signal.raise();
        }
    }
}

impl Seat {
    /// Lets go of what was revoked before, and tells what is new.
    pub(super) fn poll(&self) -> Option<Notice> {
        let mut state = self.group.lock();
        let expired = state.assignment.next_expiry().is_some_and(|at| at <= self.group.now());
        if expired {
            state.assignment.expire(self.group.now());
        }
        if state.assignment.let_go(self.member) || expired {
            state.wake();
        }
        state.assignment.notice(self.member)
    }

    /// When the group has something to do although nobody wakes it.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let expiry = self.group.lock().assignment.next_expiry()?;
        Some(self.group.started + expiry)
    }
}

impl Commit {
    /// The partitions stay the member's until [`Commit::end`], if they are.
    pub(super) fn begin(&self) -> std::result::Result<(), CommitError> {
        let mut state = self.group.lock();
        let begun = state.assignment.begin_commit(self.member, &self.numbers());
        begun.map_err(CommitError::Fenced)
    }

    pub(super) fn end(&self) {
        let mut state = self.group.lock();
        state.assignment.end_commit(self.member, &self.numbers());
        // Somebody's patience may have ended while the commit was written.
        if state.assignment.next_expiry().is_some() {
            state.wake();
        }
    }

    fn numbers(&self) -> Vec<Partition> {
        self.offsets.iter().map(|(_, number, _)| *number).collect()
    }
}
