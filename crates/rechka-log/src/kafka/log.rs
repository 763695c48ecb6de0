//! The log itself: opening, and the contract.
use std::{fmt, sync::Arc};

use super::{appender::Appender, member::KafkaMember, options::KafkaOptions, shared::Shared, watch::Watch};
use crate::{
    Ack, Append, Holder, Log, Member, Membership, Offset, OffsetRange, Reader, Result, TopicPartition, TopicSpec,
};

/// The log on a cluster of Apache Kafka: a [`Log`] that many processes on many machines share.
///
/// Dropping it waits until everything that was appended is written, or can't be.
pub struct KafkaLog {
    shared: Arc<Shared>,
    appender: Appender,
    _watch: Watch,
}

impl KafkaLog {
    /// Connects to the cluster.
    ///
    /// Fails with [`LogError::Storage`](crate::LogError::Storage), which names the address, when no broker answers in time, and
    /// with [`LogError::Invalid`](crate::LogError::Invalid) when a setting is wrong.
    pub fn open(options: &KafkaOptions) -> Result<Self> {
        let shared = Arc::new(Shared::open(options.clone())?);
        Ok(Self {
            appender: Appender::start(Arc::clone(&shared))?,
            _watch: Watch::start(Arc::clone(&shared))?,
            shared,
        })
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("KafkaLog").field(&self.shared.options).finish()
    }
}

impl Log for KafkaLog {
    fn ready(&self) -> Result<()> {
        self.shared.connection.ready()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.shared
            .topics
            .create(self.shared.lookup(), &self.shared.options, spec)
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.shared.delete_topic(topic)
    }

    fn topics(&self) -> Result<Vec<TopicSpec>> {
        self.shared.topics.all(self.shared.lookup())
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.shared.offsets(partition)
    }

    fn start(&self, partition: &TopicPartition) -> Result<Offset> {
        self.shared.start(partition)
    }

    fn is_undecided(&self, partition: &TopicPartition) -> Result<bool> {
        self.shared.is_undecided(partition)
    }

    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        self.shared.offset_at(partition, timestamp)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.shared.delete_before(partition, offset)
    }

    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        self.shared.committed(group, partition)
    }

    fn holders(&self, group: &str, topic: &str) -> Result<Vec<Option<Holder>>> {
        self.shared.holders(group, topic)
    }

    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        self.shared.check(&appends)?;
        Ok(self.appender.append(appends))
    }

    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>> {
        for (partition, _) in &from {
            self.shared.topics.check(self.shared.lookup(), partition)?;
        }
        Ok(Box::new(self.shared.read(from)?))
    }

    fn join(&self, membership: Membership) -> Result<Box<dyn Member>> {
        Ok(Box::new(KafkaMember::join(Arc::clone(&self.shared), membership)?))
    }
}
