//! Rows, history and subscribers of one view.
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Bound,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    columns::Key,
    filter::Filter,
    row::{Change, Changes, Row, Staged},
    subscription::Queue,
};

/// Memory of a row beside its texts, about: its place in the map, and the heads of two allocations.
const ROW_BYTES: usize = 96;

/// A moment in the life of a view: so much of it has been seen. Good for as long as the process lives and the view is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Tells lives of views apart.
    pub(super) life: u64,
    /// Changes so far.
    pub(super) sequence: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.life, self.sequence)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (life, sequence) = text.split_once('.').ok_or(())?;
        Ok(Self {
            life: u64::from_str_radix(life, 16).map_err(drop)?,
            sequence: sequence.parse().map_err(drop)?,
        })
    }
}

/// Memory of all views together.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

/// Rows, history and subscribers of one view.
#[derive(Debug)]
pub(super) struct Table {
    rows: BTreeMap<Key, Row>,
    position: Position,
    /// The last changes, for those who come back.
    history: VecDeque<Arc<Changes>>,
    history_bytes: usize,
    history_limit: usize,
    listeners: Vec<Arc<Queue>>,
    bytes: usize,
    memory: Arc<Memory>,
}

impl Table {
    pub(super) fn new(life: u64, history_limit: usize, memory: Arc<Memory>) -> Self {
        Self {
            rows: BTreeMap::new(),
            position: Position { life, sequence: 0 },
            history: VecDeque::new(),
            history_bytes: 0,
            history_limit,
            listeners: Vec::new(),
            bytes: 0,
            memory,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory of rows and history, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Writes and deletes rows, all at once, and tells the subscribers. False: the views together need more memory than they may.
    ///
    /// `hidden`: nobody has seen the view yet, so that nobody asks what has changed.
    pub(super) fn apply(&mut self, staged: Staged, hidden: bool) -> bool {
        let mut changes = Vec::new();
        let mut changed_bytes = 0;
        let mut bytes = self.bytes;
        for (key, after) in staged {
            let key_bytes = key.len();
            let row_bytes = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.bytes() + key_bytes + ROW_BYTES);
            let before = match &after {
                Some(row) => self.rows.insert(key.clone(), row.clone()),
                None => self.rows.remove(&key),
            };
            bytes = bytes + row_bytes(&after) - row_bytes(&before);
            if !hidden && before != after {
                changed_bytes += row_bytes(&after) + row_bytes(&before);
                changes.push(Change { key, before, after });
            }
        }
        self.account(bytes);
        if !changes.is_empty() {
            self.tell(changes, changed_bytes);
        }
        self.memory.used() <= self.memory.limit
    }

    fn tell(&mut self, changes: Vec<Change>, bytes: usize) {
        self.position.sequence += 1;
        let changes = Arc::new(Changes {
            sequence: self.position.sequence,
            changes,
            bytes,
        });
        for listener in &self.listeners {
            listener.push(&changes);
        }
        self.history.push_back(changes);
        self.history_bytes += bytes;
        let mut freed = 0;
        while self.history_bytes - freed > self.history_limit {
            let Some(oldest) = self.history.pop_front() else { break };
            freed += oldest.bytes;
        }
        self.history_bytes -= freed;
        self.account(self.bytes + bytes - freed);
    }

    fn account(&mut self, bytes: usize) {
        // Added first, so that what is used never falls below zero in between.
        self.memory.used.fetch_add(bytes, Relaxed);
        self.memory.used.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
    }

    /// The rows whose keys begin as the filter says, by key.
    pub(super) fn range<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Row> {
        let prefix = filter.prefix();
        self.rows
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, row)| row)
    }

    /// A listener's queue gets every change from here on.
    pub(super) fn listen(&mut self, queue: &Arc<Queue>) {
        self.listeners.push(queue.clone());
    }

    /// Gives a queue what changed since a position, if that is still known.
    pub(super) fn replay(&self, since: Position, queue: &Queue) -> bool {
        let missed = self.position.sequence.checked_sub(since.sequence);
        let Some(missed) = missed.and_then(|missed| usize::try_from(missed).ok()) else {
            return false;
        };
        if since.life != self.position.life || missed > self.history.len() {
            return false;
        }
        for changes in self.history.range(self.history.len() - missed..) {
            queue.push(changes);
        }
        true
    }

    pub(super) fn leave(&mut self, queue: &Arc<Queue>) {
        self.listeners.retain(|listener| !Arc::ptr_eq(listener, queue));
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) -> Vec<Arc<Queue>> {
        self.rows.clear();
        self.history.clear();
        self.history_bytes = 0;
        self.account(0);
        std::mem::take(&mut self.listeners)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.account(0);
    }
}
