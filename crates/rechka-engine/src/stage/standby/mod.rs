//! Copies of the state of partitions that others have, kept warm.
//!
//! ```text
//!   who holds what ─▶ what this process would be given if another one died ─▶ a replica of each
//!   changelogs ─▶ one reader, one thread for each stage ─▶ replicas ─▶ a task that is given the partition, which reads the rest
//! ```
//!
//! Who holds what is asked of the log, which knows who committed last; there is no other membership. A wrong guess costs time or memory,
//! never correctness: a task without a standby reads everything. A standby costs as much memory as the state.
mod choice;
mod follower;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rechka_log::{Holder, Partition};

pub(crate) use follower::follow;

use super::replica::Replica;

/// A replica, until a task takes it.
type Shared = Arc<Mutex<Option<Replica>>>;

/// The standbys of a stage in this process, shared by its tasks and the thread that follows.
pub(crate) struct Standbys {
    /// The process, as the group knows it.
    worker: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the tasks of this process have, by their numbers.
    own: BTreeMap<u32, BTreeSet<Partition>>,
    replicas: BTreeMap<Partition, Shared>,
}

impl Standbys {
    pub fn new(worker: &str) -> Self {
        Standbys {
            worker: worker.into(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task is there.
    pub fn joined(&self, number: u32) {
        self.lock().own.entry(number).or_default();
    }

    /// It is not any more.
    pub fn left(&self, number: u32) {
        self.lock().own.remove(&number);
    }

    /// A task is given a partition; takes the replica that was kept of its state.
    pub(super) fn assigned(&self, number: u32, partition: Partition) -> Option<Replica> {
        let replica = {
            let mut state = self.lock();
            state.own.entry(number).or_default().insert(partition);
            state.replicas.remove(&partition)
        };
        // Waits while it takes what it was given last.
        let replica = replica?;
        replica.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A task has lost a partition.
    pub fn revoked(&self, number: u32, partition: Partition) {
        if let Some(own) = self.lock().own.get_mut(&number) {
            own.remove(&partition);
        }
    }

    /// What would be given to this process if any one other died.
    fn wanted(&self, holders: &[Option<Holder>]) -> BTreeSet<Partition> {
        choice::wanted(&self.worker, &self.lock().own, holders)
    }

    fn replicas(&self) -> BTreeMap<Partition, Shared> {
        self.lock().replicas.clone()
    }

    fn insert(&self, partition: Partition, replica: Replica) {
        let replica = Arc::new(Mutex::new(Some(replica)));
        self.lock().replicas.insert(partition, replica);
    }

    fn retain(&self, wanted: &BTreeSet<Partition>) {
        self.lock().replicas.retain(|partition, _| wanted.contains(partition));
    }
}
