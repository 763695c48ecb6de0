//! Records for one partition, in batches of a size that the log likes.
use arrow::array::RecordBatch;
use rechka_log::{Append, BatchBuilder, Header, LogError, TopicPartition};

use crate::{EngineError, Result, operators::Dead};

/// Bytes after which a batch is complete and another one begins.
const BATCH_BYTES: usize = 1 << 20;
/// The same for records that a reader should see together, as far as a batch may hold them.
const WHOLE_BYTES: usize = 32 << 20;

/// A row as a record.
pub(super) struct RowRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    pub timestamp: i64,
    pub headers: &'a [Header<'a>],
    /// The row itself.
    pub rows: &'a RecordBatch,
    pub row: usize,
}

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

    /// The same for the record of a row. What no record has room for is put aside, as a dead letter.
    pub fn push_row(&mut self, record: RowRecord<'_>, too_large: &mut Vec<Dead>) -> Result<()> {
        match self.push(record.key, record.value, record.timestamp, record.headers) {
            Err(EngineError::Log(LogError::Invalid(reason))) => {
                let row = record.rows.slice(record.row, 1);
                too_large.push(Dead { row, reason });
                Ok(())
            }
            pushed => pushed,
        }
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
