//! Operators that keep nothing: what comes in goes out, changed, at once.
use arrow::array::RecordBatch;

use super::{Delta, Operator, Output, Time, unknown_change};
use crate::Result;

/// What a stateless operator does to rows.
pub(super) trait Transform: Send {
    /// The rows changed; those that can't be go to `late`.
    fn transform(&self, rows: &RecordBatch, time: Time, late: &mut Vec<RecordBatch>) -> Result<RecordBatch>;
    /// The row that each of the changed rows was made of; none where asking again may give other rows.
    fn origins(&self, rows: &RecordBatch, time: Time) -> Result<Option<Vec<u32>>>;
}

/// An operator without state.
pub(super) struct Stateless<T>(pub T);

impl<T: Transform> Operator for Stateless<T> {
    fn push(&mut self, _input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        let rows = self.0.transform(rows, time, &mut out.late)?;
        if rows.num_rows() > 0 {
            out.rows.push(rows);
        }
        Ok(())
    }

    fn origins(&self, rows: &RecordBatch, time: Time) -> Result<Option<Vec<u32>>> {
        self.0.origins(rows, time)
    }

    fn end_epoch(&mut self, _time: Time, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        Err(unknown_change(delta))
    }

    fn state_bytes(&self) -> usize {
        0
    }
}
