//! The first rows of groups that end with a window.
use std::collections::BTreeMap;

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
};

use super::{
    super::{Delta, Operator, Output, Time, expressions::microseconds, unknown_change, watermark::Watermark},
    ranking::{Ranking, Shape},
};
use crate::Result;

/// Kinds of change: rows that ranked when they came, the watermark.
const ROWS: u8 = 0;
const WATERMARK: u8 = 1;

/// A ranking for each end of a window, put out and dropped when the watermark reaches it. Rows without a window wait for the end of
/// the input.
pub(super) struct Windows {
    shape: Shape,
    end: usize,
    windows: BTreeMap<i64, Ranking>,
    watermark: Watermark,
    came: Vec<Delta>,
}

impl Windows {
    pub fn new(shape: Shape, end: usize) -> Self {
        Self {
            shape,
            end,
            windows: BTreeMap::new(),
            watermark: Watermark::new(),
            came: Vec::new(),
        }
    }

    /// Takes in rows; gives those of windows that have ended.
    fn admit(&mut self, rows: &RecordBatch, watermark: i64) -> Result<Option<RecordBatch>> {
        let mut parts = BTreeMap::<i64, Vec<u32>>::new();
        for (row, end) in (0..).zip(&microseconds(rows.column(self.end))?) {
            parts.entry(end.unwrap_or(i64::MAX)).or_default().push(row);
        }
        if parts.len() > 1 {
            // No part may be taken in if another can't be.
            self.shape.evaluate(rows)?;
        }
        let mut late = Vec::new();
        for (end, part) in parts {
            if end <= watermark {
                late.extend(part);
                continue;
            }
            let all = part.len() == rows.num_rows();
            let part = if all {
                rows.clone()
            } else {
                take_record_batch(rows, &UInt32Array::from(part))?
            };
            let ranking = match self.windows.remove(&end) {
                Some(ranking) => ranking,
                None => Ranking::new(&self.shape)?,
            };
            let rows = self.windows.entry(end).or_insert(ranking).admit(&self.shape, &part)?;
            if rows.num_rows() > 0 {
                self.came.push(Delta { kind: ROWS, rows });
            }
        }
        late.sort_unstable();
        Ok(if late.is_empty() {
            None
        } else {
            Some(take_record_batch(rows, &UInt32Array::from(late))?)
        })
    }

    /// Takes out the windows that have ended.
    fn take_ended(&mut self, watermark: i64) -> BTreeMap<i64, Ranking> {
        let open = match watermark.checked_add(1) {
            Some(after) => self.windows.split_off(&after),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.windows, open)
    }
}

impl Operator for Windows {
    fn push(&mut self, _input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        out.late.extend(self.admit(rows, time.watermark)?);
        Ok(())
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        self.watermark.advance(time.watermark);
        for ranking in self.take_ended(time.watermark).values() {
            out.rows.push(ranking.put_out(&ranking.all(), &self.shape)?);
        }
        for ranking in self.windows.values_mut() {
            ranking.compact(&self.shape)?;
        }
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        let mut deltas = std::mem::take(&mut self.came);
        self.watermark.end_deltas(&mut deltas, WATERMARK)?;
        Ok(deltas)
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.came.clear();
        let rows = |ranking: &Ranking| {
            Ok(Delta {
                kind: ROWS,
                rows: ranking.rows(&self.shape)?,
            })
        };
        let mut deltas = self.windows.values().map(rows).collect::<Result<Vec<_>>>()?;
        deltas.push(self.watermark.snapshot(WATERMARK)?);
        Ok(deltas)
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        match delta.kind {
            ROWS => {
                let rows = RecordBatch::try_new(self.shape.input.clone(), delta.rows.columns().to_vec())?;
                self.admit(&rows, self.watermark.get())?;
                self.came.clear();
            }
            WATERMARK => {
                let watermark = self.watermark.restore(delta)?;
                self.take_ended(watermark);
            }
            _ => return Err(unknown_change(delta)),
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.windows.values().map(Ranking::bytes).sum()
    }
}
