//! The topics that a recogniser needs.
use rechka_log::{Cleanup, Log, Partition, TopicSpec};
use rechka_types::topics;

use super::stored::STATE;
use crate::Result;

/// Makes the topics that are missing.
pub(super) fn ensure(log: &dyn Log, partitions: Partition) -> Result<()> {
    topics::ensure(log, partitions, |partitions| {
        let state = TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(STATE, partitions)
        };
        vec![state, TopicSpec::new(topics::dead(topics::AUDIO), partitions)]
    })?;
    Ok(())
}
