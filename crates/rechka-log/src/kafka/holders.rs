//! Who holds which partition of a group: every commit leaves its member's name beside the offset (what Kafka calls the
//! metadata of a committed offset), and a member that lets go of a partition commits without it.
//!
//! A member that died may have left a transaction open, or decided and not completed. Whoever reads behind it, and whoever takes
//! its partitions, would wait until the transaction times out, which takes 10 s and more. So the next holder opens a producer in the
//! place of the last one's for a moment: that aborts what was left open, and completes what was decided. It does no harm to a
//! member that lives: it has lost the partition already, and goes on with a new producer.
use std::sync::Arc;

use rdkafka::{TopicPartitionList, consumer::Consumer};

use super::{
    client::KafkaConsumer,
    reader::serve,
    shared::Shared,
    transaction::{BATCH_BYTES, Producer},
};
use crate::{Holder, Result, TopicPartition};

/// The transactional id of a member.
pub(super) fn transactional_id(group: &str, holder: &Holder) -> String {
    format!("rechka-{group}-{}", mark(holder))
}

/// What a member leaves beside the offsets that it commits.
pub(super) fn mark(holder: &Holder) -> String {
    format!("{}.{}", holder.worker, holder.number)
}

/// The same, read again. Others may have committed with something else, or with nothing.
fn holder(mark: &str) -> Option<Holder> {
    let (worker, number) = mark.rsplit_once('.')?;
    Some(Holder {
        worker: worker.into(),
        number: number.parse().ok()?,
    })
}

impl Shared {
    /// Who committed last, by partition of a topic.
    pub(super) fn holders(&self, group: &str, topic: &str) -> Result<Vec<Option<Holder>>> {
        let mut partitions = TopicPartitionList::new();
        for partition in 0..self.topics.partitions(self.lookup(), topic)? {
            partitions.add_partition(topic, partition as i32);
        }
        self.last_holders(group, partitions)
    }

    /// Ends what those have left open who held these partitions before `own`.
    pub(super) fn settle(&self, group: &str, partitions: &TopicPartitionList, own: &Holder) -> Result<()> {
        let mut before: Vec<Holder> = self
            .last_holders(group, partitions.clone())?
            .into_iter()
            .flatten()
            .collect();
        before.sort_unstable();
        before.dedup();
        for holder in before.iter().filter(|holder| *holder != own) {
            let id = transactional_id(group, holder);
            Producer::open(&self.connection, &id, BATCH_BYTES)?;
            tracing::debug!(group, id, "what it left open is settled");
        }
        Ok(())
    }

    fn last_holders(&self, group: &str, partitions: TopicPartitionList) -> Result<Vec<Option<Holder>>> {
        let consumer = self.observer(group)?;
        serve(&consumer)?;
        let Some(name) = partitions
            .elements()
            .first()
            .map(|first| TopicPartition::new(first.topic(), first.partition().unsigned_abs()))
        else {
            return Ok(Vec::new());
        };
        let committed = self.ask(&name, "asking for the members behind", || {
            consumer.committed_offsets(partitions.clone(), self.options.patience())
        })?;
        let elements = committed.elements();
        Ok(elements.iter().map(|element| holder(element.metadata())).collect())
    }

    /// A consumer that sees what a group has committed, while a transaction is about to change it too.
    fn observer(&self, group: &str) -> Result<Arc<KafkaConsumer>> {
        self.observers
            .get(&self.connection, group, &[("isolation.level", "read_uncommitted")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_again_and_what_is_none_is_nobody() {
        let anna = Holder {
            worker: "anna.b-1".into(),
            number: 12,
        };
        assert_eq!(holder(&mark(&anna)), Some(anna));
        for foreign in ["", "anna", "anna.", "anna.x", "{\"json\":1}"] {
            assert_eq!(holder(foreign), None, "{foreign}");
        }
    }
}
