//! The first rows of groups by event time: deduplication that keeps what came to pass first.
use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{Field, Schema, UInt64Type},
};

use super::{
    super::{
        Delta, Operator, Output, Time,
        expressions::microseconds,
        open::Open,
        unknown_change,
        watermark::{Watermark, last_complete},
    },
    ranking::{Ranked, Ranking, Shape},
};
use crate::Result;

/// Kinds of change: rows that ranked when they came, the watermark, how many rows of groups are known.
const ROWS: u8 = 0;
const WATERMARK: u8 = 1;
const DONE: u8 = 2;

/// A ranking by event time. A row is put out when the watermark has passed its time, for no row can come before it any more; of the
/// group stays how many were.
pub(super) struct FinalRows {
    shape: Shape,
    column: usize,
    /// The time of rows that have none: they are first or last.
    missing: i64,
    ranking: Ranking,
    /// For each row of the ranking.
    times: Vec<i64>,
    open: Open,
    watermark: Watermark,
    came: Vec<Delta>,
}

impl FinalRows {
    pub fn new(shape: Shape, column: usize, nulls_first: bool) -> Result<Self> {
        let missing = if nulls_first { i64::MIN } else { i64::MAX };
        let (ranking, times, open) = (Ranking::new(&shape)?, Vec::new(), Open::default());
        Ok(Self {
            shape,
            column,
            missing,
            ranking,
            times,
            open,
            watermark: Watermark::new(),
            came: Vec::new(),
        })
    }

    fn admit(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = self.ranking.admit(&self.shape, rows)?;
        for time in &microseconds(rows.column(self.column))? {
            let time = time.unwrap_or(self.missing);
            self.open.push(time, true);
            self.times.push(time);
        }
        if rows.num_rows() > 0 {
            self.came.push(Delta { kind: ROWS, rows });
        }
        Ok(())
    }

    /// Takes out the rows that the watermark has passed.
    fn finish(&mut self, watermark: i64) -> Vec<Ranked> {
        let last = last_complete(watermark);
        let rows = self.open.close_through(last, &self.times);
        let groups = self.ranking.groups(rows.into_iter());
        self.ranking.finish(&groups, |row| self.times[row as usize] <= last)
    }

    fn compact(&mut self) -> Result<()> {
        if let Some(former) = self.ranking.compact(&self.shape)? {
            self.times = former.into_iter().map(|row| self.times[row as usize]).collect();
            self.open = Open::default();
            self.times.iter().for_each(|time| self.open.push(*time, true));
        }
        Ok(())
    }
}

impl Operator for FinalRows {
    fn push(&mut self, _input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        let times = microseconds(rows.column(self.column))?;
        let is_late = |row: &u32| times.is_valid(*row as usize) && times.value(*row as usize) < time.watermark;
        let (late, on_time): (Vec<_>, Vec<_>) = (0..rows.num_rows() as u32).partition(is_late);
        if late.is_empty() {
            return self.admit(rows);
        }
        out.late.push(take_record_batch(rows, &UInt32Array::from(late))?);
        self.admit(&take_record_batch(rows, &UInt32Array::from(on_time))?)
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        self.watermark.advance(time.watermark);
        let finished = self.finish(time.watermark);
        if !finished.is_empty() {
            out.rows.push(self.ranking.put_out(&finished, &self.shape)?);
        }
        self.compact()
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        let mut deltas = std::mem::take(&mut self.came);
        self.watermark.end_deltas(&mut deltas, WATERMARK)?;
        Ok(deltas)
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.came.clear();
        let (mut columns, done) = self.ranking.done()?;
        columns.push(Arc::new(done));
        let field = |column: &Arc<dyn Array>| Field::new("", column.data_type().clone(), true);
        let fields: Vec<_> = columns.iter().map(field).collect();
        let done = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let rows = self.ranking.rows(&self.shape)?;
        let watermark = self.watermark.snapshot(WATERMARK)?;
        Ok(vec![
            Delta { kind: DONE, rows: done },
            Delta { kind: ROWS, rows },
            watermark,
        ])
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        match delta.kind {
            ROWS => {
                self.admit(&RecordBatch::try_new(
                    self.shape.input.clone(),
                    delta.rows.columns().to_vec(),
                )?)?;
                self.came.clear();
            }
            WATERMARK => {
                let watermark = self.watermark.restore(delta)?;
                self.finish(watermark);
                self.compact()?;
            }
            DONE => {
                let Some((done, groups)) = delta.rows.columns().split_last() else {
                    return Err(unknown_change(delta));
                };
                let done = done
                    .as_primitive_opt::<UInt64Type>()
                    .ok_or_else(|| unknown_change(delta))?;
                self.ranking.restore_done(groups, done)?;
            }
            _ => return Err(unknown_change(delta)),
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.ranking.bytes() + self.open.bytes() + self.times.capacity() * size_of::<i64>()
    }
}
