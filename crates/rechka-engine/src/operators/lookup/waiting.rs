//! Rows of a stream that wait until the watermark has passed their time.
use arrow::{
    array::{BooleanArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
};

use super::super::expressions::microseconds;
use crate::Result;

/// Batches in the order in which they came. None of the rows lacks a time.
#[derive(Default)]
pub(super) struct Waiting(Vec<Batch>);

struct Batch {
    rows: RecordBatch,
    times: Int64Array,
    earliest: i64,
}

impl Waiting {
    pub fn push(&mut self, rows: RecordBatch, time: usize) -> Result<()> {
        let times = microseconds(rows.column(time))?;
        if let Some(earliest) = arrow::compute::min(&times) {
            self.0.push(Batch { rows, times, earliest });
        }
        Ok(())
    }

    /// Takes out the rows whose time is not after this.
    pub fn take_through(&mut self, last: i64, time: usize) -> Result<Vec<RecordBatch>> {
        let (mut taken, mut left) = (Vec::new(), Waiting::default());
        for batch in std::mem::take(&mut self.0) {
            if batch.earliest > last {
                left.0.push(batch);
                continue;
            }
            let due: BooleanArray = batch.times.values().iter().map(|time| Some(*time <= last)).collect();
            taken.push(filter_record_batch(&batch.rows, &due)?);
            left.push(filter_record_batch(&batch.rows, &arrow::compute::not(&due)?)?, time)?;
        }
        *self = left;
        Ok(taken)
    }

    pub fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.0.iter().map(|batch| &batch.rows)
    }

    pub fn bytes(&self) -> usize {
        self.batches().map(RecordBatch::get_array_memory_size).sum()
    }
}
