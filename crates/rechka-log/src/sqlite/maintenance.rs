//! Retention, and giving back the space of what is deleted: work of the writer thread in small steps, so that commits do
//! not wait for it.
//!
//! Deleting moves the start of a partition; that is all readers see. The batches before the start, and those of deleted
//! topics, are garbage and are freed a few at a time. SQLite reuses the freed pages; the file does not shrink.
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;

use super::{
    catalog::{Catalog, PartitionState},
    writer::Writer,
};
use crate::{Offset, Result, Retention};

/// Batches freed in one step.
const STEP_BATCHES: usize = 64;
/// Stored bytes freed in one step, from which on it ends.
const STEP_BYTES: u64 = 16 << 20;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Maintenance {
    tasks: VecDeque<Task>,
    /// Something failed: wait for the next [`Maintenance::schedule`].
    resting: bool,
}

#[derive(Debug)]
enum Task {
    Retain(Arc<PartitionState>, Retention),
    Free { partition: i64, before: Offset },
}

impl Maintenance {
    /// Looks for garbage that a former run left.
    pub(super) fn new(connection: &Connection) -> Result<Self> {
        // From one partition that has batches to the next: only the first batch of each is looked at, for garbage is freed
        // from the oldest on.
        let mut statement = connection.prepare(
            "WITH RECURSIVE held (id) AS (
                 SELECT min(partition) FROM batch
                 UNION ALL
                 SELECT (SELECT min(partition) FROM batch WHERE partition > held.id) FROM held WHERE id IS NOT NULL
             )
             SELECT held.id, ifnull(start_offset, 1 << 62) FROM held LEFT JOIN partition ON partition.id = held.id
             WHERE held.id IS NOT NULL AND (
                 start_offset IS NULL
                 OR start_offset >= (SELECT next_offset FROM batch WHERE partition = held.id
                                     ORDER BY base_offset LIMIT 1)
             )",
        )?;
        let tasks = statement.query_map([], |row| {
            Ok(Task::Free {
                partition: row.get(0)?,
                before: row.get(1)?,
            })
        })?;
        Ok(Self {
            tasks: tasks.collect::<std::result::Result<_, _>>()?,
            resting: false,
        })
    }

    /// Batches of the partition before the offset are garbage.
    pub(super) fn free(&mut self, partition: i64, before: Offset) {
        self.tasks.push_back(Task::Free { partition, before });
    }

    /// It is time to look at the retention of all topics.
    pub(super) fn schedule(&mut self, catalog: &Catalog) {
        self.resting = false;
        if self.tasks.iter().any(|task| matches!(task, Task::Retain(..))) {
            return;
        }
        for topic in catalog.topics() {
            if topic.spec.retention != Retention::default() {
                let tasks = topic
                    .partitions
                    .iter()
                    .map(|partition| Task::Retain(Arc::clone(partition), topic.spec.retention));
                self.tasks.extend(tasks);
            }
        }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.resting && !self.tasks.is_empty()
    }

    /// Puts the rest off until the next [`Maintenance::schedule`].
    pub(super) fn give_up(&mut self) {
        self.resting = true;
    }
}

impl Writer {
    /// Does the next step of what is to be done.
    pub(super) fn maintain_step(&mut self) -> Result<()> {
        match self.maintenance.tasks.pop_front() {
            Some(Task::Retain(partition, retention)) => {
                if partition.lock().deleted {
                    return Ok(());
                }
                let start = self.start_by_retention(&partition, retention)?;
                self.delete_before(&partition, start)
            }
            Some(Task::Free { partition, before }) => {
                let freed = self.free_step(partition, before);
                if !matches!(freed, Ok(0)) {
                    self.maintenance.free(partition, before);
                }
                freed.map(drop)
            }
            None => Ok(()),
        }
    }

    /// The offset before which nothing is to be kept.
    fn start_by_retention(&self, partition: &PartitionState, retention: Retention) -> Result<Offset> {
        let (offsets, mut bytes) = {
            let state = partition.lock();
            (state.offsets.clone(), state.bytes)
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = retention.age.map(|age| now.as_millis() as i64 - age.as_millis() as i64);
        let mut start = offsets.start;
        let mut statement = self.connection.prepare_cached(
            "SELECT next_offset, max_timestamp, stored_bytes FROM batch
             WHERE partition = ?1 AND next_offset > ?2 ORDER BY base_offset",
        )?;
        let mut rows = statement.query((partition.id, start))?;
        while let Some(row) = rows.next()? {
            let next: Offset = row.get(0)?;
            let old = oldest.is_some_and(|oldest| row.get(1).is_ok_and(|t: i64| t < oldest));
            // The last batch stays, however large it is.
            let over = retention.bytes.is_some_and(|most| bytes > most) && next < offsets.end;
            if !old && !over {
                break;
            }
            bytes = bytes.saturating_sub(row.get(2)?);
            start = next;
        }
        Ok(start)
    }

    /// Frees some garbage; gives the number of batches.
    fn free_step(&mut self, partition: i64, before: Offset) -> Result<usize> {
        self.write(|writer| {
            let mut garbage: Vec<(Offset, i64)> = Vec::new();
            let mut bytes = 0;
            let mut statement = writer.connection.prepare_cached(
                "SELECT base_offset, blob, stored_bytes FROM batch
                 WHERE partition = ?1 AND base_offset < ?2 AND next_offset <= ?2
                 ORDER BY base_offset",
            )?;
            let mut rows = statement.query((partition, before))?;
            while let Some(row) = rows.next()?
                && garbage.len() < STEP_BATCHES
                && bytes < STEP_BYTES
            {
                garbage.push((row.get(0)?, row.get(1)?));
                bytes += row.get::<_, u64>(2)?;
            }
            drop(rows);
            let connection = &writer.connection;
            for (base, blob) in &garbage {
                connection
                    .prepare_cached("DELETE FROM blob WHERE id = ?1")?
                    .execute([blob])?;
                connection
                    .prepare_cached("DELETE FROM batch WHERE partition = ?1 AND base_offset = ?2")?
                    .execute((partition, base))?;
            }
            Ok(garbage.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::schema, *};

    /// A file with three batches in each of these partitions.
    fn file(partitions: &[i64]) -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        schema::create_if_absent(directory.path()).unwrap();
        let connection = schema::writer(directory.path()).unwrap();
        for partition in partitions {
            for base in [0, 10, 20] {
                connection
                    .execute(
                        "INSERT INTO batch VALUES (?1, ?2, ?2 + 10, 0, 0, 0, 0, 0, NULL, 0)",
                        (partition, base),
                    )
                    .unwrap();
            }
        }
        (directory, connection)
    }

    #[test]
    fn garbage_of_a_former_run_is_found_and_nothing_else() {
        let (_directory, connection) = file(&[1, 2, 4, 5, 9]);
        connection
            .execute_batch(
                "INSERT INTO partition VALUES (1, 1, 0, 10), (2, 1, 1, 9), (3, 1, 2, 5), (4, 1, 3, 0), (5, 1, 4, 30)",
            )
            .unwrap();
        let maintenance = Maintenance::new(&connection).unwrap();
        let found: Vec<(i64, Offset)> = maintenance
            .tasks
            .iter()
            .map(|task| match task {
                Task::Free { partition, before } => (*partition, *before),
                Task::Retain(..) => panic!("{task:?}"),
            })
            .collect();
        assert_eq!(found, [(1, 10), (5, 30), (9, 1 << 62)]);
    }
}
