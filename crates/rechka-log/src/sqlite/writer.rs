//! The writer thread: the only one that changes the file.
//!
//! It takes everything that waits, writes it in one transaction, and only when that is durable it lets readers see it,
//! answers the producers, and wakes the readers, in this order.
use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Instant,
};

use rusqlite::{Connection, params};

use super::{
    Options,
    blob::Blob,
    catalog::PartitionState,
    checkpoint::Checkpointer,
    error::leaves_doubt,
    lock::WriterLock,
    maintenance::Maintenance,
    queue::{Change, Part, Queue, Transaction, Work},
    schema,
    shared::{Role, Shared},
    watch::Bell,
};
use crate::{CommitError, LogError, Offset, OffsetRange, Result};

pub(super) struct Writer {
    pub(super) connection: Connection,
    checkpointer: Checkpointer,
    pub(super) shared: Arc<Shared>,
    bell: Bell,
    options: Options,
    pub(super) maintenance: Maintenance,
    /// What the partitions' caches hold, in the order in which it came: partition and bytes.
    cached: VecDeque<(Arc<PartitionState>, usize)>,
    cached_bytes: usize,
    /// Why nothing can be written any more.
    broken: Option<LogError>,
    // Last: the lock is given back when everything else is closed.
    _lock: WriterLock,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        directory: &Path,
        lock: WriterLock,
        shared: Arc<Shared>,
        options: Options,
    ) -> Result<Self> {
        let maintenance = Maintenance::new(&connection)?;
        let checkpointer = Checkpointer::start(directory, &mut connection)?;
        Ok(Self {
            connection,
            checkpointer,
            shared,
            bell: Bell::new(directory)?,
            options,
            maintenance,
            cached: VecDeque::new(),
            cached_bytes: 0,
            broken: None,
            _lock: lock,
        })
    }

    /// Works until the log is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let Role::Writer { catalog, queue } = &shared.role else {
            return;
        };
        let _abandon = Abandon(queue);
        let mut next_maintenance = Instant::now() + self.options.maintenance_interval;
        loop {
            let deadline = match &self.broken {
                Some(_) => None,
                None if self.maintenance.has_more() => Some(Instant::now()),
                None => Some(next_maintenance),
            };
            match queue.take(deadline) {
                Work::Commit(group) => {
                    let bytes = Queue::bytes_of(&group);
                    self.commit(group);
                    queue.release(bytes);
                }
                Work::Change(change, answer) => {
                    let result = self.change(change);
                    let _ = answer.send(result);
                }
                Work::Idle => {}
                Work::Closed => break,
            }
            if self.broken.is_some() {
                continue;
            }
            if Instant::now() >= next_maintenance {
                next_maintenance = Instant::now() + self.options.maintenance_interval;
                self.maintenance.schedule(catalog);
            }
            // In small steps, between the groups. A failure (a full disk) is not a producer's: the next turn tries again.
            if self.maintenance.has_more() && self.maintain_step().is_err() {
                self.maintenance.give_up();
            }
        }
        // So that the file alone is the log when nobody has it open. If it fails, the WAL keeps it.
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let _ = self.connection.query_row(checkpoint, [], |_| Ok(()));
        for topic in catalog.topics() {
            topic.partitions.iter().for_each(|partition| partition.wake());
        }
    }

    /// Writes a group of transactions; every one of them is answered.
    fn commit(&mut self, group: Vec<Transaction>) {
        let mut admitted = Vec::with_capacity(group.len());
        for transaction in group {
            match self.admit(&transaction) {
                Ok(()) => admitted.push(transaction),
                Err(error) => transaction.answer.send(Err(error)),
            }
        }
        if admitted.is_empty() {
            return;
        }
        let written = self.write(|writer| {
            let mut ends = HashMap::new();
            admitted
                .iter()
                .map(|transaction| writer.insert(transaction, &mut ends))
                .collect::<Result<Vec<_>>>()
        });
        let commits = admitted.iter().filter_map(|t| t.commit.as_ref());
        match written {
            Err(error) => {
                commits.for_each(|commit| commit.end());
                // If the disk is full, the WAL can be used again from its beginning.
                self.checkpointer.hurry();
                for transaction in admitted {
                    transaction.answer.send(Err(error.clone().into()));
                }
            }
            Ok(offsets) => {
                for (transaction, bases) in admitted.iter().zip(&offsets) {
                    for (part, base) in transaction.parts.iter().zip(bases) {
                        self.publish(part, *base);
                    }
                }
                commits.for_each(|commit| commit.end());
                let mut partitions: Vec<Arc<PartitionState>> = Vec::new();
                for (transaction, bases) in admitted.into_iter().zip(offsets) {
                    transaction.answer.send(Ok(bases));
                    partitions.extend(transaction.parts.into_iter().map(|part| part.partition));
                }
                partitions.sort_unstable_by_key(|partition| partition.id);
                partitions.dedup_by_key(|partition| partition.id);
                partitions.iter().for_each(|partition| partition.wake());
                self.bell.ring();
            }
        }
    }

    /// Checks what can have changed since the request was made.
    fn admit(&self, transaction: &Transaction) -> std::result::Result<(), CommitError> {
        if let Some(error) = &self.broken {
            return Err(error.clone().into());
        }
        for part in &transaction.parts {
            if part.partition.lock().deleted {
                let topic = part.partition.name.topic.to_string();
                return Err(LogError::UnknownTopic(topic).into());
            }
        }
        transaction.commit.as_ref().map_or(Ok(()), |commit| commit.begin())
    }

    /// Runs `change` in one durable transaction.
    pub(super) fn write<T>(&mut self, change: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.checkpointer.keep_up();
        let result = self
            .connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(LogError::from)
            .and_then(|()| change(self));
        let result = result.and_then(|value| match self.connection.execute_batch("COMMIT") {
            Ok(()) => Ok(value),
            Err(error) if leaves_doubt(&error) => {
                let broken = LogError::Storage(format!(
                    "writing to the disk failed ({error}): nothing more is written until the log is opened again"
                ));
                self.broken = Some(broken.clone());
                Err(broken)
            }
            Err(error) => Err(error.into()),
        });
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            self.broken = Some(error.into());
        }
        if self.broken.is_some() {
            // The failed transaction may lie in the WAL, whole but not acknowledged. What is written over its start makes
            // the rest void, so that it does not appear after a restart.
            let _ = self.connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; PRAGMA user_version = {0}; COMMIT",
                schema::FORMAT
            ));
        }
        result
    }

    /// Inserts one transaction; `ends` are the ends of the partitions within the group so far. Gives the base offsets.
    fn insert(&self, transaction: &Transaction, ends: &mut HashMap<i64, Offset>) -> Result<Vec<Offset>> {
        let mut bases = Vec::with_capacity(transaction.parts.len());
        for part in &transaction.parts {
            let end = ends
                .entry(part.partition.id)
                .or_insert_with(|| part.partition.lock().offsets.end);
            bases.push(*end);
            self.insert_batch(part, *end)?;
            *end += part.batch.len() as Offset;
        }
        if let Some(commit) = &transaction.commit {
            let mut statement = self.connection.prepare_cached(
                "INSERT INTO committed (consumer_group, partition, next_offset) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
            )?;
            for (partition, _, offset) in &commit.offsets {
                statement.execute((&*commit.group.name, partition, offset))?;
            }
        }
        Ok(bases)
    }

    fn insert_batch(&self, part: &Part, base: Offset) -> Result<()> {
        let next = base + part.batch.len() as Offset;
        let row = BatchRow {
            partition: part.partition.id,
            offsets: base..next,
            max_timestamp: part.max_timestamp,
            deltas: None,
            blob: &part.blob,
        };
        row.insert(&self.connection)
    }

    /// Lets readers see a batch that is durable.
    fn publish(&mut self, part: &Part, base: Offset) {
        let size = part.batch.bytes();
        {
            let mut state = part.partition.lock();
            state.offsets.end = base + part.batch.len() as Offset;
            state.bytes += part.blob.data.len() as u64;
            state.dirty += part.blob.data.len() as u64;
            state.recent.push_back((base, part.batch.clone()));
        }
        self.cached.push_back((Arc::clone(&part.partition), size));
        self.cached_bytes += size;
        while self.cached_bytes > self.options.cache_bytes {
            let Some((partition, size)) = self.cached.pop_front() else {
                break;
            };
            self.cached_bytes -= size;
            partition.lock().recent.pop_front();
        }
    }

    fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::CreateTopic(spec) => self.create_topic(&spec),
            Change::DeleteTopic(name) => self.delete_topic(&name),
            Change::DeleteBefore(partition, offset) => self.delete_before(&partition, offset),
            Change::Maintain => {
                let shared = Arc::clone(&self.shared);
                if let Role::Writer { catalog, .. } = &shared.role {
                    self.maintenance.schedule(catalog);
                }
                while self.maintenance.has_more() {
                    self.maintain_step()?;
                }
                Ok(())
            }
            Change::Replace(partition, replacement) => self.replace(&partition, &replacement),
        }
    }
}

/// When the writer ends, even by a panic, nobody waits for it any longer.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// One row of `batch`, with its blob.
pub(super) struct BatchRow<'a> {
    pub partition: i64,
    pub offsets: OffsetRange,
    pub max_timestamp: i64,
    pub deltas: Option<Vec<u8>>,
    pub blob: &'a Blob,
}

impl BatchRow<'_> {
    pub(super) fn insert(self, connection: &Connection) -> Result<()> {
        connection
            .prepare_cached("INSERT INTO blob (data) VALUES (?1)")?
            .execute([&self.blob.data[..]])?;
        connection
            .prepare_cached(
                "INSERT INTO batch (partition, base_offset, next_offset, max_timestamp, codec, checksum,
                                    bytes, stored_bytes, deltas, blob)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                self.partition,
                self.offsets.start,
                self.offsets.end,
                self.max_timestamp,
                self.blob.codec as i64,
                self.blob.checksum,
                self.blob.bytes,
                self.blob.data.len(),
                self.deltas,
                connection.last_insert_rowid(),
            ])?;
        Ok(())
    }
}
