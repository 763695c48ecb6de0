//! A member of a consumer group.
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    assignment::Notice,
    cursor::{Cursor, LAST},
    group::{Commit, Groups, Seat},
    prepare::prepare,
    queue::{Answer, Transaction},
    shared::Shared,
    signal::Signal,
};
use crate::{CommitError, Epoch, Event, LogError, Member, Offset, Partition, Result, TopicPartition};

/// A [`Member`] of the embedded log.
#[derive(Debug)]
pub(super) struct SqliteMember {
    shared: Arc<Shared>,
    groups: Arc<Groups>,
    seat: Seat,
    signal: Arc<Signal>,
    cursors: Vec<Cursor>,
    /// Assigned, but not opened yet.
    opening: Vec<Partition>,
    paused: HashSet<TopicPartition>,
    /// The cursor that was read last.
    turn: usize,
}

impl SqliteMember {
    pub(super) fn new(shared: Arc<Shared>, groups: Arc<Groups>, seat: Seat, signal: Arc<Signal>) -> Self {
        Self {
            shared,
            groups,
            seat,
            signal,
            cursors: Vec::new(),
            opening: Vec::new(),
            paused: HashSet::new(),
            turn: 0,
        }
    }

    /// What the group has to say.
    fn notice(&mut self) -> Result<Option<Event>> {
        if self.opening.is_empty() {
            match self.seat.poll() {
                Some(Notice::Assigned(partitions)) => self.opening = partitions,
                Some(Notice::Revoked(partitions)) => {
                    self.close(&partitions);
                    return Ok(Some(Event::Revoked(partitions)));
                }
                None => return Ok(None),
            }
        }
        let mut opened = Vec::new();
        for topic in &self.seat.group.topics {
            for &number in &self.opening {
                let name = TopicPartition::new(Arc::clone(topic), number);
                let partition = match self.shared.partition(&name) {
                    Ok(partition) => partition,
                    // Of co-partitioned topics one may have fewer partitions.
                    Err(LogError::UnknownPartition { .. }) => continue,
                    Err(error) => return Err(error),
                };
                let committed = self.shared.store.committed(&self.seat.group.name, partition.id)?;
                self.shared.subscribe(&partition, &self.signal);
                opened.push(Cursor::new(partition, committed.unwrap_or(0)));
            }
        }
        self.cursors.extend(opened);
        Ok(Some(Event::Assigned(std::mem::take(&mut self.opening))))
    }

    fn close(&mut self, partitions: &[Partition]) {
        self.cursors
            .retain(|cursor| !partitions.contains(&cursor.partition().name.partition));
        self.paused.retain(|paused| !partitions.contains(&paused.partition));
        self.turn = 0;
    }

    fn cursor(&mut self, name: &TopicPartition) -> Result<&mut Cursor> {
        self.cursors
            .iter_mut()
            .find(|cursor| cursor.partition().name == *name)
            .ok_or_else(|| LogError::Invalid(format!("{name} is not assigned to this member of the group")))
    }

    /// The group's side of an epoch, checked.
    fn offsets(&self, epoch: &Epoch) -> Result<Commit> {
        let mut offsets = Vec::new();
        for (name, offset) in &epoch.offsets {
            if !self.seat.group.topics.contains(&name.topic) {
                return Err(LogError::Invalid(format!(
                    "the group {:?} does not read the topic {:?}",
                    self.seat.group.name, name.topic
                )));
            }
            if *offset > LAST {
                return Err(LogError::Invalid(format!("there is no offset {offset}")));
            }
            let partition = self.shared.partition(name)?;
            offsets.push((partition.id, name.partition, *offset));
        }
        Ok(Commit {
            group: Arc::clone(&self.seat.group),
            member: self.seat.member,
            offsets,
        })
    }
}

impl Member for SqliteMember {
    fn poll(&mut self, wait: Duration) -> Result<Event> {
        let deadline = Instant::now().checked_add(wait);
        loop {
            self.signal.clear();
            if let Some(event) = self.notice()? {
                return Ok(event);
            }
            for _ in 0..self.cursors.len() {
                self.turn = (self.turn + 1) % self.cursors.len();
                let cursor = &mut self.cursors[self.turn];
                if self.paused.contains(&cursor.partition().name) {
                    continue;
                }
                if let Some(fetched) = self.shared.fetch(cursor)? {
                    return Ok(Event::Batch(fetched));
                }
            }
            let expiry = self.seat.next_expiry();
            let until = match (deadline, expiry) {
                (Some(deadline), Some(expiry)) => Some(deadline.min(expiry)),
                (one, other) => one.or(other),
            };
            let woken = self.shared.wait(&self.signal, until)?;
            if !woken && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Event::CaughtUp);
            }
        }
    }

    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError> {
        let commit = self.offsets(&epoch)?;
        let parts = prepare(&self.shared, epoch.appends)?;
        let (sender, receiver) = oneshot::channel();
        self.shared.queue()?.push(Transaction {
            parts,
            commit: Some(commit),
            answer: Answer::Epoch(sender),
        })?;
        receiver.recv().unwrap_or(Err(LogError::Closed.into()))
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.cursor(partition)?.seek(offset);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            self.cursor(partition)?;
            self.paused.insert(partition.clone());
        }
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            self.cursor(partition)?;
            self.paused.remove(partition);
        }
        Ok(())
    }
}

impl Drop for SqliteMember {
    fn drop(&mut self) {
        self.groups.leave(&self.seat);
    }
}
