//! Records for one partition, in batches of a size that the log likes.
use rechka_log::{Append, BatchBuilder, Header, TopicPartition};

use crate::Result;

/// Bytes after which a batch is complete and another one begins.
const BATCH_BYTES: usize = 1 << 20;
/// The same for records that a reader should see together, as far as a batch may hold them.
const WHOLE_BYTES: usize = 32 << 20;

/// Collects records.
pub(super) struct Appender {
    to: TopicPartition,
    most: usize,
    complete: Vec<Append>,
    builder: BatchBuilder,
}

impl Appender {
    pub fn new(to: TopicPartition) -> Self {
        Appender {
            to,
            most: BATCH_BYTES,
            complete: Vec::new(),
            builder: BatchBuilder::new(),
        }
    }

    /// Keeps the records together, so that a reader sees all or none.
    pub fn whole(self) -> Self {
        Appender {
            most: WHOLE_BYTES,
            ..self
        }
    }

    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], timestamp: i64, headers: &[Header<'_>]) -> Result<()> {
        if !self.builder.is_empty() && self.builder.bytes() + value.len() > self.most {
            self.finish_batch();
        }
        Ok(self.builder.push(key, value, timestamp, headers)?)
    }

    fn finish_batch(&mut self) {
        let builder = std::mem::take(&mut self.builder);
        if !builder.is_empty() {
            self.complete.push(Append {
                to: self.to.clone(),
                batch: builder.finish(),
            });
        }
    }

    pub fn finish(mut self) -> Vec<Append> {
        self.finish_batch();
        self.complete
    }
}
