//! What the log, its writer, its readers and its members share.
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, Once, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{Offset as KafkaOffset, TopicPartitionList, consumer::Consumer, error::KafkaResult};

use super::{
    client::{self, KafkaConsumer},
    connection::{Connection, Trouble},
    ends::{End, Ends},
    error::{failed, failed_at},
    liveness::Liveness,
    options::KafkaOptions,
    reader::{Idle, KafkaReader, Next, serve},
    topics::Topics,
    transaction::Part,
};
use crate::{Append, LogError, Offset, OffsetRange, Result, TopicPartition};

/// The group of the consumer that looks things up, and which nobody joins.
const LOOKUP: &str = "rechka-lookup";
/// Consumers kept to ask for the offsets of groups.
const MOST_GROUPS: usize = 16;
/// The first step back in search of the last record; each further one is larger.
const FIRST_STEP: Offset = 16;
const STEP_FACTOR: Offset = 8;
/// How long to wait at once for the first answer.
const GREETING: Duration = Duration::from_millis(500);
/// How long to wait for the reason why no broker answers.
const REASON: Duration = Duration::from_secs(1);
/// The pause before a question is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Which group protocols a broker offers.
const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";
/// The protocol of KIP-848.
pub(super) const CONSUMER: &str = "consumer";

/// The state of an open log.
pub(super) struct Shared {
    pub options: KafkaOptions,
    pub connection: Connection,
    pub topics: Topics,
    pub ends: Ends,
    lookup: KafkaConsumer,
    /// The same, for what is not decided.
    undecided: OnceLock<KafkaConsumer>,
    readers: Arc<Idle>,
    looks: Arc<Idle>,
    groups: Observers,
    /// The same, for what transactions are about to change.
    pub observers: Observers,
    /// Tells this process from others.
    instance: u64,
    brokers: OnceLock<HashMap<String, String>>,
    /// Of groups that were joined.
    pub liveness: Mutex<HashMap<Arc<str>, Liveness>>,
    pub complained: Once,
}

/// Consumers that can ask for the offsets of a group, and are no members of it.
#[derive(Default)]
pub(super) struct Observers(Mutex<HashMap<Arc<str>, Arc<KafkaConsumer>>>);

impl Observers {
    pub(super) fn get(
        &self,
        connection: &Connection,
        group: &str,
        settings: &[(&str, &str)],
    ) -> Result<Arc<KafkaConsumer>> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = groups.get(group) {
            return Ok(Arc::clone(consumer));
        }
        if groups.len() >= MOST_GROUPS {
            groups.clear();
        }
        let consumer = Arc::new(client::consumer(connection, group, settings)?);
        groups.insert(group.into(), Arc::clone(&consumer));
        Ok(consumer)
    }
}

impl Shared {
    /// Connects. Fails if no broker answers in time.
    pub(super) fn open(options: KafkaOptions) -> Result<Self> {
        let connection = Connection::new(options.clone());
        let lookup = client::consumer(&connection, LOOKUP, &[])?;
        greet(&connection, &lookup)?;
        Ok(Self {
            topics: Topics::new(&connection)?,
            connection,
            options,
            ends: Ends::default(),
            lookup,
            undecided: OnceLock::new(),
            readers: Idle::for_readers(),
            looks: Idle::for_looks(),
            groups: Observers::default(),
            observers: Observers::default(),
            instance: RandomState::new().hash_one(std::process::id()),
            brokers: OnceLock::new(),
            liveness: Mutex::default(),
            complained: Once::new(),
        })
    }

    /// The consumer that looks things up.
    pub(super) fn lookup(&self) -> &KafkaConsumer {
        // So that what it hears, such as a token that has to be renewed, is not left lying.
        let _ = serve(&self.lookup);
        &self.lookup
    }

    /// An id that no other producer has.
    pub(super) fn transactional_id(&self, what: &str) -> String {
        let number = RandomState::new().hash_one(self.instance);
        format!("rechka-{what}-{:016x}{number:016x}", self.instance)
    }

    /// The protocol of groups: that of KIP-848 where the brokers offer it.
    pub(super) fn protocol(&self) -> &str {
        if let Some(set) = self.options.setting("group.protocol") {
            return set;
        }
        let offered = self.broker_settings().get(PROTOCOLS);
        match offered.is_some_and(|offered| offered.split(',').any(|protocol| protocol.trim() == CONSUMER)) {
            true => CONSUMER,
            false => "classic",
        }
    }

    /// The settings of some broker; none if it does not tell them.
    pub(super) fn broker_settings(&self) -> &HashMap<String, String> {
        self.brokers.get_or_init(|| {
            let metadata = self.lookup().fetch_metadata(None, self.options.patience());
            let brokers = metadata
                .iter()
                .flat_map(|metadata| metadata.brokers())
                .map(|broker| broker.id());
            // The first that answers.
            let settings = brokers.map(|broker| self.topics.broker_settings(broker));
            let told = settings.inspect(|settings| {
                if let Err(error) = settings {
                    tracing::warn!(%error, "a broker does not tell its settings");
                }
            });
            told.flatten().next().unwrap_or_default()
        })
    }

    /// Refuses appends that can't be written.
    pub(super) fn check(&self, appends: &[Append]) -> Result<()> {
        for append in appends {
            self.topics.check(self.lookup(), &append.to)?;
            if append.batch.is_empty() {
                let why = format!("the batch for {} has no records", append.to);
                return Err(LogError::Invalid(why));
            }
            if self.topics.is_compacted(&append.to.topic) && append.batch.iter().any(|record| record.key.is_none()) {
                let why = format!("{} is compacted: every record needs a key", append.to);
                return Err(LogError::Invalid(why));
            }
        }
        Ok(())
    }

    /// The appends with what sending them takes to know.
    pub(super) fn parts<'a>(&self, appends: &[&'a Append]) -> Vec<Part<'a>> {
        let part = |append: &&'a Append| Part {
            append,
            compacted: self.topics.is_compacted(&append.to.topic),
        };
        appends.iter().map(part).collect()
    }

    pub(super) fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<KafkaReader> {
        KafkaReader::open(&self.connection, &self.readers, from)
    }

    /// A reader of what is there.
    fn look(&self, partition: &TopicPartition, from: Offset) -> Result<KafkaReader> {
        KafkaReader::open(&self.connection, &self.looks, vec![(partition.clone(), from)])
    }

    /// The offsets a partition holds, to after its last committed record.
    pub(super) fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.topics.check(self.lookup(), partition)?;
        let deadline = Instant::now() + self.options.patience();
        let mut pause = Duration::from_millis(1);
        loop {
            let known = self.ends.get(partition);
            let (start, stable) = self.watermarks(partition)?;
            // The client is told of a commit before the readers see it.
            if stable < known.records && Instant::now() < deadline {
                thread::sleep(pause);
                pause = (2 * pause).min(Duration::from_millis(50));
                continue;
            }
            if stable < known.records {
                // Somebody has deleted the topic and made it again.
                self.ends.forget(&partition.topic);
            }
            let end = match self.ends.get(partition).at(stable) {
                Some(end) => end,
                None => self.search_end(partition, start, stable)?,
            };
            return Ok(start..end.max(start));
        }
    }

    /// The start of a partition, and its last stable offset: no open transaction begins before it.
    fn watermarks(&self, partition: &TopicPartition) -> Result<(Offset, Offset)> {
        let (start, stable) = self.ask(partition, "asking for the offsets of", || {
            let number = partition.partition as i32;
            let patience = self.options.patience();
            self.lookup().fetch_watermarks(&partition.topic, number, patience)
        })?;
        Ok((start.unsigned_abs(), stable.unsigned_abs()))
    }

    /// The start of a partition.
    pub(super) fn start(&self, partition: &TopicPartition) -> Result<Offset> {
        self.topics.check(self.lookup(), partition)?;
        Ok(self.watermarks(partition)?.0)
    }

    /// Whether an open transaction has written to a partition.
    pub(super) fn is_undecided(&self, partition: &TopicPartition) -> Result<bool> {
        self.topics.check(self.lookup(), partition)?;
        if self.undecided.get().is_none() {
            let all = [("isolation.level", "read_uncommitted")];
            // Another thread may have been quicker: then this one is not needed.
            let _ = self.undecided.set(client::consumer(&self.connection, LOOKUP, &all)?);
        }
        let Some(consumer) = self.undecided.get() else {
            return Ok(false);
        };
        let _ = consumer.poll(Duration::ZERO);
        // Asked first: what is decided by the time of the second question counts as decided.
        let (_, written) = self.ask(partition, "asking for the offsets of", || {
            consumer.fetch_watermarks(&partition.topic, partition.partition as i32, self.options.patience())
        })?;
        Ok(self.watermarks(partition)?.1 < written.unsigned_abs())
    }

    /// Looks for the last record before `stable`.
    fn search_end(&self, partition: &TopicPartition, start: Offset, stable: Offset) -> Result<Offset> {
        // Before what is known nothing need be looked at.
        let floor = self.ends.get(partition).records.clamp(start, stable);
        let mut step = FIRST_STEP;
        let records = loop {
            let from = stable.saturating_sub(step).max(floor);
            let mut reader = self.look(partition, from)?;
            let mut last = None;
            loop {
                match reader.next(self.options.patience(), true)? {
                    Next::Fetched(fetched) => last = Some(fetched.next_offset()),
                    Next::End => break,
                    Next::Nothing => {
                        return Err(LogError::Storage(format!(
                            "Kafka: the end of {partition} was not to be read within {} s",
                            self.options.patience().as_secs()
                        )));
                    }
                }
                if last.is_some_and(|last| last >= stable) {
                    break;
                }
            }
            match last {
                Some(last) => break last,
                None if from == floor => break floor,
                None => step = step.saturating_mul(STEP_FACTOR),
            }
        };
        let end = End {
            records,
            searched: stable,
        };
        self.ends.found(partition, end);
        Ok(records)
    }

    /// The first record of a time or later, or the end.
    ///
    /// The brokers' index of times also holds the control records, with the time of the commit. So its answer is where the
    /// search begins.
    pub(super) fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        let offsets = self.offsets(partition)?;
        let from = if timestamp <= super::records::EARLIEST {
            offsets.start
        } else {
            let mut times = TopicPartitionList::new();
            let added = times.add_partition_offset(
                &partition.topic,
                partition.partition as i32,
                KafkaOffset::Offset(timestamp),
            );
            added.map_err(|error| failed("searching by time", error))?;
            let found = self.ask(partition, "searching by time in", || {
                self.lookup().offsets_for_times(times.clone(), self.options.patience())
            })?;
            match found.elements().first().map(|found| found.offset()) {
                Some(KafkaOffset::Offset(offset)) => offset.unsigned_abs().max(offsets.start),
                _ => return Ok(offsets.end),
            }
        };
        let mut reader = self.look(partition, from)?;
        loop {
            let Next::Fetched(fetched) = reader.next(self.options.patience(), true)? else {
                return Ok(offsets.end);
            };
            let mut numbered = (fetched.base_offset..).zip(fetched.batch.iter());
            if let Some((offset, _)) = numbered.find(|(_, record)| record.timestamp >= timestamp) {
                return Ok(offset);
            }
            if fetched.next_offset() >= offsets.end {
                return Ok(offsets.end);
            }
        }
    }

    /// Whether a committed record lies at this offset.
    pub(super) fn holds(&self, partition: &TopicPartition, offset: Offset) -> Result<bool> {
        let mut reader = self.look(partition, offset)?;
        match reader.next(self.options.patience(), true) {
            Ok(Next::Fetched(fetched)) => Ok(fetched.base_offset == offset),
            Ok(Next::End) | Err(LogError::Replaced { .. }) => Ok(false),
            Ok(Next::Nothing) => Err(LogError::Storage(format!(
                "Kafka: {partition} was not to be read within {} s",
                self.options.patience().as_secs()
            ))),
            Err(error) => Err(error),
        }
    }

    /// The next offset that a group has committed.
    pub(super) fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        self.topics.check(self.lookup(), partition)?;
        let consumer = self.groups.get(&self.connection, group, &[])?;
        serve(&consumer)?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition(&partition.topic, partition.partition as i32);
        let committed = self.ask(partition, "asking for the committed offset of", || {
            let committed = consumer.committed_offsets(offsets.clone(), self.options.patience())?;
            // Not known is not the same as not committed.
            committed.elements().iter().try_for_each(|element| element.error())?;
            Ok(committed)
        })?;
        Ok(committed
            .elements()
            .first()
            .and_then(|element| next_offset(element.offset())))
    }

    pub(super) fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let held = self.offsets(partition)?;
        let offset = offset.min(held.end);
        if offset <= held.start {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        let offset = KafkaOffset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        let added = offsets.add_partition_offset(&partition.topic, partition.partition as i32, offset);
        added.map_err(|error| failed("deleting records", error))?;
        self.topics.delete_before(&partition.topic, &offsets)
    }

    pub(super) fn delete_topic(&self, topic: &str) -> Result<()> {
        self.topics.delete(self.lookup(), topic)?;
        self.ends.forget(topic);
        Ok(())
    }

    /// Asks about a partition, and again while the answer may be that of a client or a broker that is behind.
    pub(super) fn ask<T>(
        &self,
        partition: &TopicPartition,
        what: &str,
        request: impl Fn() -> KafkaResult<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + self.options.patience();
        loop {
            let error = match request() {
                Ok(answer) => return Ok(answer),
                Err(error) => failed_at(partition, what, error),
            };
            // Fails if the partition is gone indeed.
            self.topics.forget(&partition.topic);
            let there = self.topics.check(self.lookup(), partition);
            there.inspect_err(|error| self.learn(error))?;
            if Instant::now() > deadline {
                return Err(error);
            }
            tracing::debug!(%error, "asking Kafka again");
            thread::sleep(ASK_AGAIN);
        }
    }

    /// Forgets what was known of a topic that is gone.
    pub(super) fn learn(&self, error: &LogError) {
        if let LogError::UnknownTopic(topic) | LogError::UnknownPartition { topic, .. } = error {
            self.topics.forget(topic);
            self.ends.forget(topic);
        }
    }
}

/// Waits until a broker answers; not longer than it takes to be refused.
fn greet(connection: &Connection, lookup: &KafkaConsumer) -> Result<()> {
    let patience = connection.options.patience();
    let deadline = Instant::now() + patience;
    let mut reason = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Err(error) = lookup.fetch_metadata(None, left.min(GREETING)) else {
            connection.answered();
            return Ok(());
        };
        // Lets it tell why.
        serve(lookup)?;
        let trouble = connection.trouble();
        let refused = matches!(trouble, Some(Trouble { refused: true, .. }));
        let over = Instant::now() >= deadline;
        let told = trouble.is_some() || *reason.get_or_insert(deadline + REASON) < Instant::now();
        if refused || (over && told) {
            let within = if refused {
                String::new()
            } else {
                format!(", for {} s", patience.as_secs_f32())
            };
            return Err(LogError::Storage(format!("{}{within}", connection.no_answer(&error))));
        }
    }
}

/// A committed offset, if there is one.
pub(super) fn next_offset(committed: KafkaOffset) -> Option<Offset> {
    match committed {
        KafkaOffset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    }
}
