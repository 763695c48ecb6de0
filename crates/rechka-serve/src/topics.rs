//! The topics that the gateway needs.
use rechka_log::{Cleanup, Log, Partition, Result, TopicSpec};

use crate::session::SESSIONS;

/// Makes the topics that are missing; returns the number of partitions that audio has.
pub(crate) fn ensure(log: &dyn Log, partitions: Partition) -> Result<Partition> {
    rechka_types::topics::ensure(log, partitions, |_| {
        vec![TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(SESSIONS, 1)
        }]
    })
}
