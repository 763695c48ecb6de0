//! The log itself: opening, closing, and the contract.
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    catalog::Catalog,
    compaction,
    cursor::Cursor,
    group::Groups,
    lock::WriterLock,
    member::SqliteMember,
    prepare::prepare,
    queue::{Answer, Change, Queue, Transaction},
    reader::SqliteReader,
    schema,
    shared::{Role, Shared},
    signal::Signal,
    store::Store,
    watch::{Sleepers, Watcher},
    writer::Writer,
};
use crate::{
    Ack, Append, Log, LogError, Member, Membership, Offset, OffsetRange, Reader, Result, TopicPartition, TopicSpec,
};

/// How the embedded log is run. The defaults suit a laptop.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that may wait to be written, compressed and not; [`Log::append`] blocks beyond.
    pub waiting_bytes: usize,
    /// Bytes of recent batches kept in memory for live readers.
    pub cache_bytes: usize,
    /// How often retention and compaction are looked after.
    pub maintenance_interval: Duration,
    /// How long a member may go without a poll when its partitions are wanted elsewhere; after that it is fenced.
    pub handover_timeout: Duration,
    /// How long compaction keeps a deleted key's last record, so that slow readers see the deletion.
    pub tombstone_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            waiting_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            maintenance_interval: Duration::from_secs(10),
            handover_timeout: Duration::from_secs(30),
            tombstone_age: Duration::from_hours(24),
        }
    }
}

/// The embedded log: a [`Log`] in one directory, without a server.
///
/// One process writes it ([`SqliteLog::open`]); others may read it meanwhile ([`SqliteLog::open_read_only`]). Dropping it
/// waits until everything that was appended is durable.
///
/// ```
/// use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition, TopicSpec};
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let log = SqliteLog::open(directory)?;
/// log.create_topic(&TopicSpec::new("greetings", 1))?;
/// let mut batch = BatchBuilder::new();
/// batch.push(None, b"hello", 0, &[])?;
/// let to = TopicPartition::new("greetings", 0);
/// let offsets = log.append(vec![Append { to: to.clone(), batch: batch.finish() }])?.wait()?;
/// assert_eq!(offsets, [0]);
/// let fetched = log.read(vec![(to, 0)])?.poll(std::time::Duration::from_secs(1))?.expect("it is durable");
/// assert_eq!(fetched.batch.get(0).expect("one record").value, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteLog {
    directory: PathBuf,
    shared: Arc<Shared>,
    groups: Arc<Groups>,
    options: Options,
    threads: Vec<JoinHandle<()>>,
    /// Dropped to stop the compaction thread.
    stop: Option<Sender<()>>,
}

impl SqliteLog {
    /// Opens the log in `directory` for writing and reading, and makes both if they are not there.
    ///
    /// Fails with [`LogError::InUse`] when another process has it open so, and with [`LogError::Foreign`] when what lies
    /// there is no log, or one of another version.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(directory, Options::default())
    }

    /// Like [`SqliteLog::open`], with other settings.
    pub fn open_with(directory: impl AsRef<Path>, options: Options) -> Result<Self> {
        let directory = directory.as_ref();
        std::fs::create_dir_all(directory)
            .map_err(|error| LogError::Storage(format!("cannot make {}: {error}", directory.display())))?;
        let lock = WriterLock::take(directory)?;
        schema::create_if_absent(directory)?;
        schema::check(directory)?;
        let connection = schema::writer(directory)?;
        let catalog = Catalog::load(&connection)?;
        catalog.measure(&connection)?;
        let shared = Arc::new(Shared {
            store: Store::new(directory),
            role: Role::Writer {
                catalog,
                queue: Queue::new(options.waiting_bytes),
            },
        });
        let mut log = Self {
            directory: directory.to_owned(),
            shared: Arc::clone(&shared),
            groups: Arc::default(),
            options: options.clone(),
            threads: Vec::new(),
            stop: None,
        };
        let writer = Writer::new(connection, directory, lock, Arc::clone(&shared), options.clone())?;
        log.threads.push(spawn("log-writer", move || writer.run())?);
        let (stop, stopped) = mpsc::channel();
        log.stop = Some(stop);
        log.threads.push(spawn("log-compact", move || {
            let interval = options.maintenance_interval;
            compaction::run(&shared, &stopped, interval, options.tombstone_age);
        })?);
        Ok(log)
    }

    /// Opens a log that another process writes, or has written, for reading. Appending, groups and changes of topics fail
    /// with [`LogError::ReadOnly`].
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        schema::check(directory)?;
        let sleepers = Arc::new(Sleepers::default());
        let shared = Arc::new(Shared {
            store: Store::new(directory),
            role: Role::Reader {
                watcher: Watcher::start(directory, Arc::clone(&sleepers)).ok(),
                sleepers,
            },
        });
        shared.store.read(Catalog::load)?;
        Ok(Self {
            directory: directory.to_owned(),
            shared,
            groups: Arc::default(),
            options: Options::default(),
            threads: Vec::new(),
            stop: None,
        })
    }

    /// The log's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Applies retention and compaction now, and frees the space, instead of from time to time.
    pub fn maintain(&self) -> Result<()> {
        self.shared.queue()?.change(Change::Maintain)?;
        compaction::compact_all(&self.shared, self.options.tombstone_age, 0)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| LogError::Storage(format!("cannot start a thread: {error}")))
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.stop = None;
        if let Ok(queue) = self.shared.queue() {
            queue.close();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Log for SqliteLog {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.shared.queue()?.change(Change::CreateTopic(spec.clone()))
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.shared.queue()?.change(Change::DeleteTopic(topic.to_owned()))
    }

    fn topics(&self) -> Result<Vec<TopicSpec>> {
        let topics = match &self.shared.role {
            Role::Writer { catalog, .. } => catalog.topics(),
            Role::Reader { .. } => self.shared.store.read(Catalog::load)?.topics(),
        };
        Ok(topics.iter().map(|topic| topic.spec.clone()).collect())
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        Ok(self.shared.partition(partition)?.lock().offsets.clone())
    }

    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        let partition = self.shared.partition(partition)?;
        let offsets = partition.lock().offsets.clone();
        let mut from = offsets.start;
        loop {
            let stored = match self.shared.store.batch_since(&partition, from, timestamp) {
                Ok(Some(stored)) => stored,
                Ok(None) => return Ok(offsets.end),
                // Its records may be as old as any.
                Err(LogError::Damaged { offsets: lost, .. }) => return Ok(lost.start.max(offsets.start)),
                Err(error) => return Err(error),
            };
            let found = (0..)
                .zip(stored.batch.iter())
                .find(|(index, record)| record.timestamp >= timestamp && stored.offset(*index) >= offsets.start);
            if let Some((index, _)) = found {
                return Ok(stored.offset(index));
            }
            from = stored.next_offset;
        }
    }

    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let queue = self.shared.queue()?;
        let partition = self.shared.partition(partition)?;
        queue.change(Change::DeleteBefore(partition, offset))
    }

    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        let partition = self.shared.partition(partition)?;
        self.shared.store.committed(group, partition.id)
    }

    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        let queue = self.shared.queue()?;
        let parts = prepare(&self.shared, appends)?;
        let (sender, receiver) = oneshot::channel();
        queue.push(Transaction {
            parts,
            commit: None,
            answer: Answer::Append(sender),
        })?;
        Ok(Ack(receiver))
    }

    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>> {
        let cursor = |(name, offset)| Ok(Cursor::new(self.shared.partition(&name)?, offset));
        let cursors = from.into_iter().map(cursor).collect::<Result<_>>()?;
        Ok(Box::new(SqliteReader::new(Arc::clone(&self.shared), cursors)))
    }

    fn join(&self, membership: Membership) -> Result<Box<dyn Member>> {
        let Role::Writer { catalog, .. } = &self.shared.role else {
            return Err(LogError::ReadOnly);
        };
        if membership.topics.is_empty() {
            return Err(LogError::Invalid(format!(
                "the group {:?} reads no topic: name at least one",
                membership.group
            )));
        }
        let mut partitions = 0;
        for topic in &membership.topics {
            partitions = partitions.max(catalog.topic(topic)?.spec.partitions);
        }
        let signal = Arc::new(Signal::default());
        let seat = self
            .groups
            .join(&membership, partitions, self.options.handover_timeout, &signal)?;
        Ok(Box::new(SqliteMember::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.groups),
            seat,
            signal,
        )))
    }
}
