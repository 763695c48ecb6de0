//! What a running query is told of its recognition.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rechka_log::{Offset, Partition, TopicPartition};

use crate::statistics::{Counts, Meter};

/// Tells how a stage goes.
pub(crate) struct Report {
    pub stage: usize,
    pub meter: Arc<Meter>,
    /// Where the audio ends, if it is read to its end and not for ever.
    pub ends: Option<Arc<BTreeMap<TopicPartition, Offset>>>,
    /// Set to end the query.
    pub stop: Arc<AtomicBool>,
}

impl Report {
    /// The group has said which partitions are ours.
    pub fn settled(&self) {
        self.meter.settled(self.stage, 0);
    }

    /// An epoch was committed.
    pub fn epoch(&self, partition: Partition, next: Offset, counts: Counts) {
        self.meter.epoch(self.stage, partition, &[next], counts);
    }

    /// A partition is worked off to its end.
    pub fn ended(&self, partition: Partition) {
        if self.meter.ended(self.stage, partition) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}
