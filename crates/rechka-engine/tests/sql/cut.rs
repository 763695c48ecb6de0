//! A log whose epochs end where a test wants them to.
use std::{sync::Arc, time::Duration};

use rechka_log::{
    Ack, Append, CommitError, Epoch, Event, Log, Member, Membership, Offset, OffsetRange, Reader, Result, SqliteLog,
    TopicPartition, TopicSpec,
};

/// Whether an epoch ends behind a batch that was read; asked for each.
pub type Cut = Arc<dyn Fn() -> bool + Send + Sync>;

/// The embedded log; its members are told now and then that none of their partitions are taken away, before which a task
/// commits its epoch.
pub struct CutLog {
    pub log: SqliteLog,
    pub cut: Cut,
}

struct CutMember {
    member: Box<dyn Member>,
    cut: Cut,
    due: bool,
}

impl Member for CutMember {
    fn poll(&mut self, wait: Duration) -> Result<Event> {
        if std::mem::take(&mut self.due) {
            return Ok(Event::Revoked(Vec::new()));
        }
        let event = self.member.poll(wait)?;
        self.due = matches!(event, Event::Batch(_)) && (self.cut)();
        Ok(event)
    }

    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError> {
        self.member.commit(epoch)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.member.seek(partition, offset)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.member.pause(partitions)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.member.resume(partitions)
    }
}

impl Log for CutLog {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.log.create_topic(spec)
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.log.delete_topic(topic)
    }

    fn topics(&self) -> Result<Vec<TopicSpec>> {
        self.log.topics()
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.log.offsets(partition)
    }

    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        self.log.offset_at(partition, timestamp)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.log.delete_before(partition, offset)
    }

    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        self.log.committed(group, partition)
    }

    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        self.log.append(appends)
    }

    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>> {
        self.log.read(from)
    }

    fn join(&self, membership: Membership) -> Result<Box<dyn Member>> {
        let (member, cut) = (self.log.join(membership)?, self.cut.clone());
        Ok(Box::new(CutMember {
            member,
            cut,
            due: false,
        }))
    }
}
