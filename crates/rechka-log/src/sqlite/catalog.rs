//! Topics and partitions in memory: what the writer knows, and what its readers wait for.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::Duration,
};

use rusqlite::Connection;

use super::signal::Signal;
use crate::{Batch, Cleanup, LogError, Offset, OffsetRange, Result, Retention, TopicPartition, TopicSpec};

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    pub id: i64,
    pub spec: TopicSpec,
    pub partitions: Vec<Arc<PartitionState>>,
}

/// A partition. Only the writer thread changes it, after the commit that makes the change durable.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub id: i64,
    pub name: TopicPartition,
    pub cleanup: Cleanup,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub offsets: OffsetRange,
    /// Stored bytes of the batches that are not deleted, where [`Catalog::measure`] measures.
    pub bytes: u64,
    /// Stored bytes that came since the last compaction.
    pub dirty: u64,
    /// The topic has been deleted.
    pub deleted: bool,
    /// The last batches, decoded, in order: live readers find them here.
    pub recent: VecDeque<(Offset, Batch)>,
    /// Readers to wake.
    pub readers: Vec<Weak<Signal>>,
}

impl PartitionState {
    /// A partition that holds these offsets.
    pub(super) fn new(id: i64, name: TopicPartition, cleanup: Cleanup, offsets: OffsetRange) -> Self {
        Self {
            id,
            name,
            cleanup,
            state: Mutex::new(State {
                offsets,
                ..State::default()
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the signal is raised when records come.
    pub(super) fn subscribe(&self, signal: &Arc<Signal>) {
        let readers = &mut self.lock().readers;
        // Where nothing is ever appended nobody else clears up after readers that have gone.
        if readers.len() == readers.capacity() {
            readers.retain(|reader| reader.strong_count() > 0);
            readers.reserve(readers.len());
        }
        readers.push(Arc::downgrade(signal));
    }

    /// Wakes the readers that wait for this partition.
    pub(super) fn wake(&self) {
        let readers = {
            let mut state = self.lock();
            state.readers.retain(|reader| reader.strong_count() > 0);
            state.readers.clone()
        };
        for reader in readers.iter().filter_map(Weak::upgrade) {
            reader.raise();
        }
    }
}

/// All topics. In a process that only reads it is read again from the file whenever it is asked.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
}

impl Catalog {
    /// Reads the catalog from the file.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let catalog = Self::default();
        let mut statement = connection
            .prepare_cached("SELECT id, name, partitions, cleanup, retention_ms, retention_bytes FROM topic")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let spec = TopicSpec {
                name: row.get::<_, String>(1)?.into(),
                partitions: row.get(2)?,
                cleanup: match row.get(3)? {
                    0 => Cleanup::Delete,
                    1 => Cleanup::Compact,
                    other => {
                        return Err(LogError::Corrupt(format!("topic {id}: cleanup {other}")));
                    }
                },
                retention: Retention {
                    age: row.get::<_, Option<u64>>(4)?.map(Duration::from_millis),
                    bytes: row.get(5)?,
                },
            };
            let partitions = load_partitions(connection, id, &spec)?;
            if partitions.len() != spec.partitions as usize {
                return Err(LogError::Corrupt(format!(
                    "topic {id}: {} of {} partitions",
                    partitions.len(),
                    spec.partitions
                )));
            }
            catalog.insert(Topic { id, spec, partitions });
        }
        Ok(catalog)
    }

    /// Adds up what the partitions hold, where retention by size or compaction needs to know it: that takes a look at all
    /// their batches.
    pub(super) fn measure(&self, connection: &Connection) -> Result<()> {
        let mut statement = connection.prepare(
            "SELECT ifnull(sum(stored_bytes), 0) FROM batch JOIN partition ON partition.id = batch.partition
             WHERE partition = ?1 AND next_offset > start_offset",
        )?;
        for topic in self.topics() {
            if topic.spec.cleanup != Cleanup::Compact && topic.spec.retention.bytes.is_none() {
                continue;
            }
            for partition in &topic.partitions {
                let bytes = statement.query_row([partition.id], |row| row.get(0))?;
                let mut state = partition.lock();
                state.bytes = bytes;
                state.dirty = bytes;
            }
        }
        Ok(())
    }

    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().cloned().collect()
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .get(name)
            .cloned()
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub(super) fn partition(&self, name: &TopicPartition) -> Result<Arc<PartitionState>> {
        let topic = self.topic(&name.topic)?;
        let partition = topic.partitions.get(name.partition as usize);
        partition.cloned().ok_or_else(|| LogError::UnknownPartition {
            topic: name.topic.to_string(),
            partition: name.partition,
        })
    }

    pub(super) fn insert(&self, topic: Topic) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(topic.spec.name.clone(), Arc::new(topic));
    }

    pub(super) fn remove(&self, name: &str) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.remove(name);
    }
}

/// The partitions of a topic as they are stored.
pub(super) fn load_partitions(
    connection: &Connection,
    topic: i64,
    spec: &TopicSpec,
) -> Result<Vec<Arc<PartitionState>>> {
    // The end of an emptied partition is its start; otherwise its last batch tells.
    let mut statement = connection.prepare_cached(
        "SELECT id, number, start_offset,
                max(start_offset, ifnull((SELECT next_offset FROM batch WHERE partition = partition.id
                                          ORDER BY base_offset DESC LIMIT 1), 0))
         FROM partition WHERE topic = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([topic])?;
    let mut partitions = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get(1)?;
        if number as usize != partitions.len() {
            return Err(LogError::Corrupt(format!("topic {topic}: partition {number}")));
        }
        partitions.push(Arc::new(PartitionState::new(
            row.get(0)?,
            TopicPartition::new(spec.name.clone(), number),
            spec.cleanup,
            row.get(2)?..row.get(3)?,
        )));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_have_gone_are_forgotten_although_nothing_is_appended() {
        let partition = PartitionState::new(1, TopicPartition::new("t", 0), Cleanup::Delete, 0..0);
        let stays = Arc::new(Signal::default());
        partition.subscribe(&stays);
        for _ in 0..1000 {
            partition.subscribe(&Arc::default());
        }
        let readers = &partition.lock().readers;
        assert!(readers.len() < 20, "{}", readers.len());
        assert!(readers.iter().any(|reader| reader.upgrade().is_some()));
    }
}
