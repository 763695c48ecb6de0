//! How a task is run.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rechka_log::{Offset, TopicPartition, Worker};

use crate::{Delivery, Failpoint};

/// What a task reads, and how it commits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The consumer group.
    pub group: Arc<str>,
    /// The process, as the group knows it.
    pub worker: Worker,
    /// The number of the task among those of the process in this group.
    pub number: u32,
    /// What the group reads. The same partition number of all topics goes to the same task; all have as many partitions.
    pub topics: Vec<Arc<str>>,
    /// An epoch is committed after this time, or earlier when its output is urgent or large.
    pub epoch: Duration,
    /// What a crash may do to the output.
    pub delivery: Delivery,
    /// Where to stop reading, for the partitions that are named.
    pub ends: Arc<BTreeMap<TopicPartition, Offset>>,
    /// Where tests interrupt the task.
    pub failpoint: Failpoint,
}

impl Settings {
    /// Reads one topic for ever, exactly once.
    pub fn new(group: Arc<str>, topic: Arc<str>, epoch: Duration) -> Self {
        Settings {
            group,
            worker: Worker::unnamed(),
            number: 0,
            topics: vec![topic],
            epoch,
            delivery: Delivery::ExactlyOnce,
            ends: Arc::default(),
            failpoint: Failpoint::default(),
        }
    }
}
