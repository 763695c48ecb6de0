//! What the log, its readers and its members share.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    catalog::{Catalog, PartitionState},
    cursor::Cursor,
    queue::Queue,
    signal::Signal,
    store::Store,
    watch::{Sleepers, Watcher},
};
use crate::{Fetched, LogError, Result, TopicPartition};

/// How long a reader of another process sleeps at most before it looks again, where the kernel does not wake it.
const BLIND_WAIT: Duration = Duration::from_millis(20);
/// The same where it does: only for the case that a wake-up was lost (queue overflow, a restarted writer).
const WATCHED_WAIT: Duration = Duration::from_secs(1);

/// The state of an open log.
#[derive(Debug)]
pub(super) struct Shared {
    pub store: Store,
    pub role: Role,
}

/// Whether this process writes the log.
#[derive(Debug)]
pub(super) enum Role {
    Writer {
        catalog: Catalog,
        queue: Queue,
    },
    Reader {
        sleepers: Arc<Sleepers>,
        watcher: Option<Watcher>,
    },
}

impl Shared {
    /// The partition, as the writer knows it or as it is in the file.
    pub(super) fn partition(&self, name: &TopicPartition) -> Result<Arc<PartitionState>> {
        match &self.role {
            Role::Writer { catalog, .. } => catalog.partition(name),
            Role::Reader { .. } => self.store.read(Catalog::load)?.partition(name),
        }
    }

    /// The queue, if this process may write.
    pub(super) fn queue(&self) -> Result<&Queue> {
        match &self.role {
            Role::Writer { queue, .. } => Ok(queue),
            Role::Reader { .. } => Err(LogError::ReadOnly),
        }
    }

    /// From now on the signal is raised when records come to the partition.
    pub(super) fn subscribe(&self, partition: &PartitionState, signal: &Arc<Signal>) {
        match &self.role {
            Role::Writer { .. } => partition.subscribe(signal),
            Role::Reader { sleepers, .. } => sleepers.add(signal),
        }
    }

    /// What comes next at the cursor, if it is there.
    pub(super) fn fetch(&self, cursor: &mut Cursor) -> Result<Option<Fetched>> {
        cursor.fetch(&self.store, matches!(self.role, Role::Writer { .. }))
    }

    /// Sleeps until the signal is raised; false when the deadline came first.
    pub(super) fn wait(&self, signal: &Signal, deadline: Option<Instant>) -> Result<bool> {
        match &self.role {
            Role::Writer { queue, .. } => {
                if queue.closed() {
                    return Err(LogError::Closed);
                }
                Ok(signal.wait(deadline))
            }
            Role::Reader { watcher, .. } => {
                let longest = match watcher {
                    Some(_) => WATCHED_WAIT,
                    None => BLIND_WAIT,
                };
                let now = Instant::now();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    return Ok(false);
                }
                let look = now + longest;
                signal.wait(Some(deadline.map_or(look, |deadline| deadline.min(look))));
                Ok(true)
            }
        }
    }
}
