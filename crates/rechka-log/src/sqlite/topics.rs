//! What the writer does to topics and to the past. Each is one small transaction: the space is given back later, in steps
//! ([`super::maintenance`]).
use rusqlite::params;

use super::{
    catalog::{self, PartitionState, Topic},
    queue::Replacement,
    shared::Role,
    writer::{BatchRow, Writer},
};
use crate::{Cleanup, LogError, Offset, Result, TopicSpec};

impl Writer {
    pub(super) fn create_topic(&mut self, spec: &TopicSpec) -> Result<()> {
        let shared = std::sync::Arc::clone(&self.shared);
        let Role::Writer { catalog, .. } = &shared.role else {
            return Err(LogError::ReadOnly);
        };
        match catalog.topic(&spec.name) {
            Ok(topic) => return same(&topic.spec, spec),
            Err(LogError::UnknownTopic(_)) => check(spec)?,
            Err(error) => return Err(error),
        }
        let topic = self.write(|writer| {
            let age = spec.retention.age.map(|age| age.as_millis() as u64);
            writer.connection.execute(
                "INSERT INTO topic (name, partitions, cleanup, retention_ms, retention_bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    &*spec.name,
                    spec.partitions,
                    spec.cleanup == Cleanup::Compact,
                    age,
                    spec.retention.bytes,
                ],
            )?;
            let id = writer.connection.last_insert_rowid();
            let mut insert = writer
                .connection
                .prepare_cached("INSERT INTO partition (topic, number, start_offset) VALUES (?1, ?2, 0)")?;
            for number in 0..spec.partitions {
                insert.execute((id, number))?;
            }
            Ok(Topic {
                id,
                spec: spec.clone(),
                partitions: catalog::load_partitions(&writer.connection, id, spec)?,
            })
        })?;
        catalog.insert(topic);
        Ok(())
    }

    pub(super) fn delete_topic(&mut self, name: &str) -> Result<()> {
        let shared = std::sync::Arc::clone(&self.shared);
        let Role::Writer { catalog, .. } = &shared.role else {
            return Err(LogError::ReadOnly);
        };
        let topic = catalog.topic(name)?;
        self.write(|writer| {
            let connection = &writer.connection;
            connection.execute(
                "DELETE FROM committed WHERE partition IN (SELECT id FROM partition WHERE topic = ?1)",
                [topic.id],
            )?;
            connection.execute("DELETE FROM partition WHERE topic = ?1", [topic.id])?;
            connection.execute("DELETE FROM topic WHERE id = ?1", [topic.id])?;
            Ok(())
        })?;
        catalog.remove(name);
        for partition in &topic.partitions {
            {
                let mut state = partition.lock();
                state.deleted = true;
                state.bytes = 0;
            }
            self.maintenance.free(partition.id, Offset::MAX >> 1);
            partition.wake();
        }
        Ok(())
    }

    /// Moves the start of a partition, at most to its end.
    pub(super) fn delete_before(&mut self, partition: &PartitionState, offset: Offset) -> Result<()> {
        let offsets = partition.lock().offsets.clone();
        let start = offset.min(offsets.end);
        if start <= offsets.start {
            return Ok(());
        }
        let freed: u64 = self.write(|writer| {
            let changed = writer
                .connection
                .prepare_cached("UPDATE partition SET start_offset = ?2 WHERE id = ?1")?
                .execute((partition.id, start))?;
            if changed != 1 {
                return Err(LogError::UnknownTopic(partition.name.topic.to_string()));
            }
            let freed = writer
                .connection
                .prepare_cached(
                    "SELECT ifnull(sum(stored_bytes), 0) FROM batch
                     WHERE partition = ?1 AND next_offset > ?2 AND next_offset <= ?3",
                )?
                .query_row((partition.id, offsets.start, start), |row| row.get(0))?;
            Ok(freed)
        })?;
        {
            let mut state = partition.lock();
            state.offsets.start = start;
            state.bytes = state.bytes.saturating_sub(freed);
        }
        self.maintenance.free(partition.id, start);
        Ok(())
    }

    /// Puts compacted batches in the place of others, if those are still there.
    pub(super) fn replace(&mut self, partition: &PartitionState, replacement: &Replacement) -> Result<()> {
        let freed = self.write(|writer| {
            let mut freed = 0;
            for offsets in &replacement.old {
                let (blob, bytes): (i64, u64) = writer
                    .connection
                    .prepare_cached(
                        "DELETE FROM batch WHERE partition = ?1 AND base_offset = ?2 AND next_offset = ?3
                         RETURNING blob, stored_bytes",
                    )?
                    .query_row((partition.id, offsets.start, offsets.end), |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?;
                writer
                    .connection
                    .prepare_cached("DELETE FROM blob WHERE id = ?1")?
                    .execute([blob])?;
                freed += bytes;
            }
            if let Some(new) = &replacement.new {
                let row = BatchRow {
                    partition: partition.id,
                    offsets: new.offsets.clone(),
                    max_timestamp: new.max_timestamp,
                    deltas: Some(new.deltas.iter().flat_map(|d| d.to_le_bytes()).collect()),
                    blob: &new.blob,
                };
                row.insert(&writer.connection)?;
            }
            Ok(freed)
        })?;
        let added = replacement.new.as_ref().map_or(0, |new| new.blob.data.len() as u64);
        let mut state = partition.lock();
        state.bytes = (state.bytes + added).saturating_sub(freed);
        Ok(())
    }
}

/// The same declaration, or the difference.
fn same(have: &TopicSpec, want: &TopicSpec) -> Result<()> {
    if have == want {
        return Ok(());
    }
    Err(LogError::TopicDiffers {
        topic: have.name.to_string(),
        difference: format!(
            "it has {} partitions, {:?}, {:?}; asked for were {} partitions, {:?}, {:?}",
            have.partitions, have.cleanup, have.retention, want.partitions, want.cleanup, want.retention
        ),
    })
}

/// Refuses what no topic may be.
fn check(spec: &TopicSpec) -> Result<()> {
    const MOST_PARTITIONS: u32 = 10_000;
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-$".contains(c);
    if !(1..=249).contains(&spec.name.len()) || !spec.name.chars().all(legal) {
        return Err(LogError::Invalid(format!(
            "{:.260?} is no name for a topic: use 1 to 249 of a-z A-Z 0-9 . _ - $",
            &*spec.name
        )));
    }
    if !(1..=MOST_PARTITIONS).contains(&spec.partitions) {
        return Err(LogError::Invalid(format!(
            "a topic has 1 to {MOST_PARTITIONS} partitions, not {}",
            spec.partitions
        )));
    }
    let whole = |age: std::time::Duration| {
        i64::try_from(age.as_millis()).is_ok() && age.subsec_nanos().is_multiple_of(1_000_000)
    };
    if spec.retention.age.is_some_and(|age| !whole(age))
        || spec.retention.bytes.is_some_and(|bytes| i64::try_from(bytes).is_err())
    {
        return Err(LogError::Invalid(
            "a retention is a whole number of milliseconds, or bytes, below 2^63".to_owned(),
        ));
    }
    Ok(())
}
