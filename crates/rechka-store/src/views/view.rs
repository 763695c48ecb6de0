//! One view.
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use rechka_log::{Batch, Log, Offset, Partition, TopicPartition};
use rechka_sql::Relation;

use super::{
    batches::batches,
    columns::Columns,
    filter::Filter,
    object::members,
    registry::Limits,
    row::{Row, Staged},
    subscription::{Event, Queue, Subscription},
    table::{Memory, Position, Table},
};
use crate::{Result, StoreError};

/// Rows that were found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rows, by key.
    pub rows: Vec<Row>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// What a view counts.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Rows now.
    pub rows: usize,
    /// Memory of rows and history, about, in bytes.
    pub bytes: usize,
    /// Subscribers now.
    pub subscribers: usize,
    /// Records of the topic that are not shown yet.
    pub lag: u64,
    /// Records that were passed over because key or value could not be read.
    pub malformed: u64,
    /// The next offset to show, by partition.
    pub offsets: Vec<Offset>,
    /// Why the view can't be asked, if it can't.
    pub trouble: Option<StoreError>,
}

/// A view: the last row of every key, followed live.
pub struct View {
    relation: Relation,
    columns: Columns,
    log: Arc<dyn Log>,
    limits: Limits,
    life: u64,
    memory: Arc<Memory>,
    table: RwLock<Table>,
    progress: Mutex<Progress>,
    moved: Condvar,
}

struct Progress {
    ready: bool,
    /// Everything before is shown, by partition.
    shown: Vec<Offset>,
    malformed: u64,
    ended: Option<StoreError>,
}

impl View {
    pub(super) fn new(
        relation: Relation,
        log: Arc<dyn Log>,
        limits: Limits,
        memory: Arc<Memory>,
        life: u64,
    ) -> Result<Self> {
        let columns = Columns::of(&relation)?;
        Ok(Self {
            table: RwLock::new(Table::new(life, limits.history_bytes, memory.clone())),
            progress: Mutex::new(Progress {
                ready: false,
                shown: vec![0; relation.partitions as usize],
                malformed: 0,
                ended: None,
            }),
            moved: Condvar::new(),
            log,
            relation,
            columns,
            limits,
            life,
            memory,
        })
    }

    /// Its name, columns and key.
    pub fn relation(&self) -> &Relation {
        &self.relation
    }

    /// Rows with given values in some columns, as people write them (`("user_id", "7")`). Values of the first key columns are found
    /// without looking at the other rows.
    ///
    /// Fails with [`StoreError::UnknownColumn`] or [`StoreError::Value`].
    pub fn filter<'a>(&self, equal: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Filter> {
        Filter::new(&self.columns, equal)
    }

    /// The one row of a key, given as an object of the key columns (`{"user_id":7}`), or bare when it is a single column (`7`).
    pub fn key_filter(&self, key: &str) -> Result<Filter> {
        Ok(Filter::key(&self.columns.encode_key(key)?))
    }

    /// The row of a key, which is written as for [`View::key_filter`].
    pub fn get(&self, key: &str) -> Result<Option<Row>> {
        Ok(self.scan(&self.key_filter(key)?, 1)?.rows.pop())
    }

    /// The first `limit` rows of a filter, by key, of one moment.
    pub fn scan(&self, filter: &Filter, limit: usize) -> Result<Found> {
        let table = self.read()?;
        self.collect(table, filter, limit)
    }

    fn collect(&self, table: RwLockReadGuard<'_, Table>, filter: &Filter, limit: usize) -> Result<Found> {
        let enough = limit.saturating_add(1);
        let mut rows: Vec<Row> = if filter.is_prefix() {
            table.range(filter).take(enough).cloned().collect()
        } else {
            // Looking into rows takes its time: not while the follower waits for the lock.
            let candidates: Vec<Row> = table.range(filter).cloned().collect();
            drop(table);
            candidates
                .into_iter()
                .filter(|row| filter.fits(row))
                .take(enough)
                .collect()
        };
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Found { rows, more })
    }

    /// Rows of this view as Arrow, with the columns of its relation; without rows: no batches.
    ///
    /// Fails with [`StoreError::Value`] when a row has a value that is not of its column's type.
    pub fn batches(&self, rows: &[Row]) -> Result<Vec<RecordBatch>> {
        batches(&self.relation, rows)
    }

    /// The rows of a filter, and then what changes in them; `after`: only what changed since then, if that is still known.
    ///
    /// Fails with [`StoreError::TooManyRows`] when there are more rows than a subscription may begin with.
    pub fn subscribe(self: &Arc<Self>, filter: Filter, after: Option<Position>) -> Result<Subscription> {
        let queue = Arc::new(Queue::new(self.limits.queue_bytes));
        let first = {
            let mut table = self.write();
            self.check()?;
            table.listen(&queue);
            let replayed = after.is_some_and(|position| table.replay(position, &queue));
            (!replayed).then(|| (table.position(), RwLockWriteGuard::downgrade(table)))
        };
        // From here on, dropping it leaves.
        let mut subscription = Subscription::new(self.clone(), filter, queue);
        if let Some((position, table)) = first {
            let event = self.snapshot(table, position, subscription.filter())?;
            subscription.begin(event);
        }
        Ok(subscription)
    }

    fn snapshot(&self, table: RwLockReadGuard<'_, Table>, position: Position, filter: &Filter) -> Result<Event> {
        let limit = self.limits.snapshot_rows;
        let all = table.len();
        let found = self.collect(table, filter, limit)?;
        if found.more {
            return Err(StoreError::TooManyRows {
                view: self.relation.name.to_string(),
                rows: all,
                limit,
            });
        }
        Ok(Event::Snapshot {
            rows: found.rows,
            position,
        })
    }

    /// Begins anew with a queue that had no room left.
    pub(super) fn snapshot_again(&self, filter: &Filter, queue: &Queue) -> Result<Event> {
        let table = self.write();
        self.check()?;
        queue.reset();
        let position = table.position();
        self.snapshot(RwLockWriteGuard::downgrade(table), position, filter)
    }

    pub(super) fn leave(&self, queue: &Arc<Queue>) {
        self.write().leave(queue);
    }

    /// Whether the view can be asked: all that was written before it was followed has been read.
    pub fn check(&self) -> Result<()> {
        let progress = self.progress();
        match &progress.ended {
            Some(why) => Err(why.clone()),
            None if progress.ready => Ok(()),
            None => {
                let shown = progress.shown.clone();
                drop(progress);
                Err(StoreError::NotReady {
                    view: self.relation.name.to_string(),
                    records: self.lag(&shown),
                })
            }
        }
    }

    /// Waits until the view can be asked, at most so long.
    pub fn wait_until_ready(&self, at_most: Duration) -> Result<()> {
        self.wait(at_most, |progress| progress.ready);
        self.check()
    }

    /// Waits until everything before `offset` of a partition is shown, at most so long. False: it is not, or the view has ended.
    pub fn wait_for(&self, partition: Partition, offset: Offset, at_most: Duration) -> bool {
        let shown = |progress: &Progress| {
            let shown = progress.shown.get(partition as usize);
            progress.ready && shown.is_some_and(|shown| *shown >= offset)
        };
        self.wait(at_most, shown);
        shown(&self.progress())
    }

    fn wait(&self, at_most: Duration, enough: impl Fn(&Progress) -> bool) {
        let deadline = Instant::now().checked_add(at_most);
        let mut progress = self.progress();
        while !enough(&progress) && progress.ended.is_none() {
            let left = deadline.map_or(at_most, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            progress = self
                .moved
                .wait_timeout(progress, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// What it counts.
    pub fn statistics(&self) -> Statistics {
        let trouble = self.check().err();
        let (shown, malformed) = {
            let progress = self.progress();
            (progress.shown.clone(), progress.malformed)
        };
        let lag = self.lag(&shown);
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Statistics {
            rows: table.len(),
            bytes: table.bytes(),
            subscribers: table.listeners(),
            lag,
            malformed,
            offsets: shown,
            trouble,
        }
    }

    fn lag(&self, shown: &[Offset]) -> u64 {
        let partitions = (0..).zip(shown);
        let behind = partitions.map(|(number, shown)| {
            let partition = TopicPartition::new(self.relation.topic.clone(), number);
            // A topic that is gone has no more records.
            self.log
                .offsets(&partition)
                .map_or(0, |kept| kept.end.saturating_sub(*shown))
        });
        behind.sum()
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// What a batch does to the rows, and how many records can't be read.
    pub(super) fn stage(&self, batch: &Batch) -> (Staged, u64) {
        let mut staged = Staged::new();
        let mut malformed = 0;
        for record in batch.iter() {
            let text = |bytes| std::str::from_utf8(bytes).ok();
            let change = record
                .key
                .and_then(text)
                .zip(text(record.value))
                .and_then(|(key, value)| {
                    let bytes = self.columns.encode_key(key).ok()?;
                    if value.is_empty() {
                        return Some((bytes, None));
                    }
                    members(value, &[]).ok()?;
                    Some((bytes, Some(Row::new(key, value))))
                });
            match change {
                Some((key, row)) => drop(staged.insert(key, row)),
                None => malformed += 1,
            }
        }
        (staged, malformed)
    }

    /// Shows what may be shown. Fails when that needs too much memory.
    pub(super) fn apply(&self, staged: Staged) -> Result<()> {
        let hidden = !self.progress().ready;
        if self.write().apply(staged, hidden) {
            return Ok(());
        }
        Err(StoreError::TooLarge {
            view: self.relation.name.to_string(),
            limit: self.memory.limit(),
        })
    }

    /// Everything before `shown` of a partition is shown.
    pub(super) fn advance(&self, partition: Partition, shown: Offset, ready: bool, malformed: u64) {
        let mut progress = self.progress();
        if let Some(at) = progress.shown.get_mut(partition as usize) {
            *at = shown;
        }
        progress.malformed += malformed;
        progress.ready |= ready;
        self.moved.notify_all();
    }

    /// Nothing more will come.
    pub(super) fn end(&self, why: &StoreError) {
        let listeners = {
            // Nobody may see rows that are let go of.
            let mut table = self.write();
            let mut progress = self.progress();
            if progress.ended.is_some() {
                return;
            }
            progress.ended = Some(why.clone());
            self.moved.notify_all();
            table.clear()
        };
        listeners.iter().for_each(|listener| listener.end(why.clone()));
    }

    pub(super) fn has_ended(&self) -> bool {
        self.progress().ended.is_some()
    }

    /// The table, if it can be asked.
    fn read(&self) -> Result<RwLockReadGuard<'_, Table>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        Ok(table)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
