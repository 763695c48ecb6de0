//! Where partitions end: after their last record, which need not be where the next offset is.
//!
//! Behind the last record of a transaction Kafka keeps a control record, and there may be aborted records. Whoever reads to
//! the end must know where nothing more comes. So the end is looked for: from the last stable offset backwards.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{Offset, TopicPartition};

/// What is known of the ends of partitions.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<HashMap<TopicPartition, End>>);

/// What is known of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// After the last record that this process wrote, or that was found.
    pub records: Offset,
    /// Up to here there is no record from `records` on.
    pub searched: Offset,
}

impl End {
    /// The end, if nothing need be looked up: the last stable offset is `stable`.
    pub(super) fn at(self, stable: Offset) -> Option<Offset> {
        // What this process wrote is followed by one control record.
        let own = stable == self.records || stable == self.records + 1;
        (own || stable == self.searched).then_some(self.records)
    }
}

impl Ends {
    pub(super) fn get(&self, partition: &TopicPartition) -> End {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(partition).copied().unwrap_or_default()
    }

    /// This process wrote records up to here, which are committed.
    pub(super) fn wrote(&self, partition: &TopicPartition, next: Offset) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.entry(partition.clone()).or_default();
        end.records = end.records.max(next);
    }

    /// It was looked up.
    pub(super) fn found(&self, partition: &TopicPartition, end: End) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ends.entry(partition.clone()).or_default();
        // Somebody may have written, or looked further, meanwhile.
        if known.records <= end.records && known.searched <= end.searched {
            *known = end;
        }
    }

    /// The topic is another one now.
    pub(super) fn forget(&self, topic: &str) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|partition, _| *partition.topic != *topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_known_behind_what_was_written_and_where_it_was_looked_for() {
        let (ends, partition) = (Ends::default(), TopicPartition::new("t", 0));
        assert_eq!(ends.get(&partition).at(0), Some(0));
        assert_eq!(ends.get(&partition).at(7), None);
        ends.wrote(&partition, 5);
        // The control record is not there yet, or it is.
        assert_eq!(ends.get(&partition).at(5), Some(5));
        assert_eq!(ends.get(&partition).at(6), Some(5));
        // Two more offsets may be an aborted transaction, or a record.
        assert_eq!(ends.get(&partition).at(8), None);
        ends.found(
            &partition,
            End {
                records: 5,
                searched: 8,
            },
        );
        assert_eq!(ends.get(&partition).at(8), Some(5));
        // What was looked up before the last write is old.
        ends.wrote(&partition, 12);
        ends.found(
            &partition,
            End {
                records: 9,
                searched: 10,
            },
        );
        assert_eq!(ends.get(&partition).at(13), Some(12));
        ends.forget("t");
        assert_eq!(ends.get(&partition), End::default());
    }
}
