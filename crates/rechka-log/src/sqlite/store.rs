//! Reading from the file: a pool of connections and the queries on batches.
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use super::{blob, catalog::PartitionState, schema};
use crate::{Batch, LogError, Offset, Result, TopicPartition};

/// Idle connections kept.
const IDLE: usize = 8;

/// Connections for reading, shared by the readers of this process.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// A batch as it was stored: its records need not be dense in a compacted topic.
#[derive(Debug)]
pub(super) struct StoredBatch {
    pub base_offset: Offset,
    /// The offset where the next batch may start.
    pub next_offset: Offset,
    /// What to add to the base for the offset of each record; `None`: 0, 1, 2 …
    pub deltas: Option<Vec<u32>>,
    pub batch: Batch,
}

impl Store {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            idle: Mutex::default(),
        }
    }

    /// Reads with a connection of this thread's own. All that one call reads is of one moment: between two of its queries
    /// the writer may replace or delete what the first has seen.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::reader(&self.directory)?,
        };
        let snapshot = connection.unchecked_transaction()?;
        let result = read(&snapshot);
        drop(snapshot);
        let mut idle = self.lock();
        if idle.len() < IDLE && connection.is_autocommit() {
            idle.push(connection);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch that holds the offset, or the first one after it. Damaged, it fails with [`LogError::Damaged`], whose offsets
    /// end behind `offset`.
    pub(super) fn batch_at(&self, partition: &PartitionState, offset: Offset) -> Result<Option<StoredBatch>> {
        self.read(|connection| batch_at(connection, partition, offset))
    }

    /// The offset that a group committed for a partition.
    pub(super) fn committed(&self, group: &str, partition: i64) -> Result<Option<Offset>> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT next_offset FROM committed WHERE consumer_group = ?1 AND partition = ?2")?;
            let offset = statement.query_row((group, partition), |row| row.get(0));
            Ok(offset.optional()?)
        })
    }

    /// Where the partition starts; `None` when it is no more.
    pub(super) fn start(&self, partition: i64) -> Result<Option<Offset>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT start_offset FROM partition WHERE id = ?1")?;
            let start = statement.query_row([partition], |row| row.get(0));
            Ok(start.optional()?)
        })
    }

    /// The first batch behind `from` with a record of this time or later.
    pub(super) fn batch_since(
        &self,
        partition: &PartitionState,
        from: Offset,
        timestamp: i64,
    ) -> Result<Option<StoredBatch>> {
        self.read(|connection| {
            let base: Option<Offset> = connection
                .prepare_cached(
                    "SELECT base_offset FROM batch
                     WHERE partition = ?1 AND next_offset > ?2 AND max_timestamp >= ?3
                     ORDER BY base_offset LIMIT 1",
                )?
                .query_row((partition.id, from, timestamp), |row| row.get(0))
                .optional()?;
            base.map_or(Ok(None), |base| batch_at(connection, partition, base))
        })
    }
}

impl StoredBatch {
    /// The offset of the record `index` of the batch.
    pub(super) fn offset(&self, index: usize) -> Offset {
        let delta = self
            .deltas
            .as_ref()
            .map_or(index as Offset, |deltas| Offset::from(deltas[index]));
        self.base_offset + delta
    }
}

/// See [`Store::batch_at`].
fn batch_at(connection: &Connection, partition: &PartitionState, offset: Offset) -> Result<Option<StoredBatch>> {
    const COLUMNS: &str = "SELECT base_offset, next_offset, codec, checksum, bytes, deltas, blob
        FROM batch WHERE partition = ?1";
    let mut holding = connection.prepare_cached(&format!(
        "{COLUMNS} AND base_offset = (SELECT max(base_offset) FROM batch WHERE partition = ?1 AND base_offset <= ?2)
         AND next_offset > ?2"
    ))?;
    let stored = |row: &Row<'_>| Ok(stored_batch(connection, row, &partition.name));
    if let Some(stored) = holding.query_row((partition.id, offset), stored).optional()? {
        return stored.map(Some);
    }
    let mut next =
        connection.prepare_cached(&format!("{COLUMNS} AND base_offset > ?2 ORDER BY base_offset LIMIT 1"))?;
    next.query_row((partition.id, offset), stored).optional()?.transpose()
}

/// A batch from a row of the columns that [`batch_at`] selects; it is outside input.
fn stored_batch(connection: &Connection, row: &Row<'_>, from: &TopicPartition) -> Result<StoredBatch> {
    let base_offset: Offset = row.get(0)?;
    let next_offset: Offset = row.get(1)?;
    let decoded = decode(connection, row, next_offset.saturating_sub(base_offset));
    let (deltas, batch) = decoded.map_err(|error| match error {
        LogError::Corrupt(reason) => LogError::Damaged {
            from: from.clone(),
            offsets: base_offset..next_offset.max(base_offset.saturating_add(1)),
            reason,
        },
        other => other,
    })?;
    Ok(StoredBatch {
        base_offset,
        next_offset,
        deltas,
        batch,
    })
}

/// The offsets' deltas, if there are any, and the records of a batch that spans so many offsets.
fn decode(connection: &Connection, row: &Row<'_>, span: Offset) -> Result<(Option<Vec<u32>>, Batch)> {
    let corrupt = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(code) if code != ErrorCode::DatabaseCorrupt => error.into(),
        _ => LogError::Corrupt(error.to_string()),
    };
    let deltas: Option<Vec<u8>> = row.get(5).map_err(corrupt)?;
    let deltas = deltas.map(|deltas| {
        deltas
            .chunks_exact(4)
            .map(|delta| u32::from_le_bytes([delta[0], delta[1], delta[2], delta[3]]))
            .collect::<Vec<u32>>()
    });
    let (codec, checksum, bytes) = (row.get(2), row.get(3), row.get(4));
    let (codec, checksum, bytes) = (
        codec.map_err(corrupt)?,
        checksum.map_err(corrupt)?,
        bytes.map_err(corrupt)?,
    );
    let blob: i64 = row.get(6).map_err(corrupt)?;
    let mut statement = connection.prepare_cached("SELECT data FROM blob WHERE id = ?1")?;
    let batch = statement.query_row([blob], |row| {
        let data = row.get_ref(0)?.as_blob()?;
        Ok(blob::decompress(codec, checksum, bytes, data))
    });
    let batch = batch.map_err(corrupt)??;
    let sound = match &deltas {
        None => span == batch.len() as Offset,
        Some(deltas) => {
            deltas.len() == batch.len()
                && deltas.is_sorted_by(|a, b| a < b)
                && deltas.last().is_some_and(|last| Offset::from(*last) < span)
        }
    };
    if !sound || batch.is_empty() {
        return Err(LogError::Corrupt("the offsets do not fit the records".to_owned()));
    }
    Ok((deltas, batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Log, SqliteLog, TopicSpec};

    #[test]
    fn what_one_read_sees_is_of_one_moment() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        log.create_topic(&TopicSpec::new("before", 1)).unwrap();
        let store = Store::new(directory.path());
        let topics = |connection: &Connection| -> i64 {
            connection
                .query_row("SELECT count(*) FROM topic", [], |row| row.get(0))
                .unwrap()
        };
        let seen = store.read(|connection| {
            let first = topics(connection);
            log.create_topic(&TopicSpec::new("meanwhile", 1)).unwrap();
            Ok((first, topics(connection)))
        });
        assert_eq!(seen.unwrap(), (1, 1));
        assert_eq!(store.read(|connection| Ok(topics(connection))).unwrap(), 2);
    }
}
