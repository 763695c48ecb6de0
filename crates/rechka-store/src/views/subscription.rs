//! Subscribers.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, task::JoinHandle};

use super::{
    filter::Filter,
    row::{Changes, Row},
    table::Position,
    view::View,
};
use crate::{Result, StoreError};

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// All wanted rows, by key: what was known before is void.
    Snapshot {
        /// The rows.
        rows: Vec<Row>,
        /// What has been seen after them.
        position: Position,
    },
    /// What changed at once.
    Changes {
        /// Rows that are new or different.
        updated: Vec<Row>,
        /// Rows that are no more (or are no longer wanted), as they were.
        deleted: Vec<Row>,
        /// What has been seen after it.
        position: Position,
    },
}

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Bytes of changes that may wait.
    room: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Arc<Changes>>,
    bytes: usize,
    /// Something found no room.
    overrun: bool,
    ended: Option<StoreError>,
}

impl Queue {
    pub(super) fn new(room: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            room,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has changed. One change has room in an empty queue, however large it is.
    pub(super) fn push(&self, changes: &Arc<Changes>) {
        let mut waiting = self.lock();
        if waiting.overrun {
            return;
        }
        if waiting.bytes + changes.bytes > self.room && !waiting.changes.is_empty() {
            waiting.changes.clear();
            waiting.bytes = 0;
            waiting.overrun = true;
        } else {
            waiting.bytes += changes.bytes;
            waiting.changes.push_back(changes.clone());
        }
        self.arrived.notify_one();
    }

    /// Nothing more will come.
    pub(super) fn end(&self, why: StoreError) {
        self.lock().ended = Some(why);
        self.arrived.notify_one();
    }

    /// Empties the queue, as if nothing had ever come.
    pub(super) fn reset(&self) {
        let mut waiting = self.lock();
        waiting.changes.clear();
        waiting.bytes = 0;
        waiting.overrun = false;
    }
}

enum Next {
    Changes(Arc<Changes>),
    Snapshot,
    Nothing,
}

/// A subscriber of a view: the rows of a filter, and every change of them. Dropping it ends it.
pub struct Subscription {
    view: Arc<View>,
    filter: Filter,
    queue: Arc<Queue>,
    first: Option<Event>,
    /// A snapshot that is being made: kept, so that a subscriber who is interrupted does not lose it.
    restart: Option<JoinHandle<Result<Event>>>,
}

impl Subscription {
    pub(super) fn new(view: Arc<View>, filter: Filter, queue: Arc<Queue>) -> Self {
        Self {
            view,
            filter,
            queue,
            first: None,
            restart: None,
        }
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What to tell before what the queue has.
    pub(super) fn begin(&mut self, first: Event) {
        self.first = Some(first);
    }

    /// The next thing to know. Comes first, and again whenever the subscriber was too slow: a snapshot. May be dropped while it waits
    /// without losing anything.
    ///
    /// Fails when the view is dropped or given up; after that it always fails.
    pub async fn next(&mut self) -> Result<Event> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            if let Some(restart) = &mut self.restart {
                let snapshot = restart.await;
                self.restart = None;
                return snapshot.unwrap_or_else(|error| Err(StoreError::Thread(error.to_string())));
            }
            let next = {
                let mut waiting = self.queue.lock();
                if let Some(changes) = waiting.changes.pop_front() {
                    waiting.bytes -= changes.bytes;
                    Next::Changes(changes)
                } else if let Some(why) = &waiting.ended {
                    return Err(why.clone());
                } else if waiting.overrun {
                    Next::Snapshot
                } else {
                    Next::Nothing
                }
            };
            match next {
                Next::Changes(changes) => {
                    if let Some(event) = self.wanted(&changes) {
                        return Ok(event);
                    }
                }
                Next::Snapshot => {
                    let (view, filter, queue) = (self.view.clone(), self.filter.clone(), self.queue.clone());
                    let snapshot = move || view.snapshot_again(&filter, &queue);
                    self.restart = Some(tokio::task::spawn_blocking(snapshot));
                }
                Next::Nothing => self.queue.arrived.notified().await,
            }
        }
    }

    /// What of the changes the subscriber wants to know.
    fn wanted(&self, changes: &Changes) -> Option<Event> {
        let (mut updated, mut deleted) = (Vec::new(), Vec::new());
        for change in &changes.changes {
            if !change.key.starts_with(self.filter.prefix()) {
                continue;
            }
            let wanted = |row: &&Row| self.filter.fits(row);
            if let Some(row) = change.after.as_ref().filter(wanted) {
                updated.push(row.clone());
            } else if let Some(row) = change.before.as_ref().filter(wanted) {
                deleted.push(row.clone());
            }
        }
        let position = Position {
            life: self.view.life(),
            sequence: changes.sequence,
        };
        let something = !updated.is_empty() || !deleted.is_empty();
        something.then_some(Event::Changes {
            updated,
            deleted,
            position,
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.view.leave(&self.queue);
    }
}
