//! The first rows of groups that never end.
use arrow::array::RecordBatch;

use super::{
    super::{Delta, Operator, Output, Time, unknown_change},
    ranking::{Ranking, Shape},
};
use crate::Result;

/// The one kind of change: rows that ranked when they came.
const ROWS: u8 = 0;

/// A ranking of which the ranks that changed are put out after each epoch. A rank is never left without a row.
pub(super) struct Changing {
    shape: Shape,
    ranking: Ranking,
    /// The number of the epoch's first row.
    first: u32,
    came: Vec<Delta>,
}

impl Changing {
    pub fn new(shape: Shape) -> Result<Self> {
        Ok(Self {
            ranking: Ranking::new(&shape)?,
            shape,
            first: 0,
            came: Vec::new(),
        })
    }
}

impl Operator for Changing {
    fn push(&mut self, _input: usize, rows: &RecordBatch, _time: Time, _out: &mut Output) -> Result<()> {
        let rows = self.ranking.admit(&self.shape, rows)?;
        if rows.num_rows() > 0 {
            self.came.push(Delta { kind: ROWS, rows });
        }
        Ok(())
    }

    fn end_epoch(&mut self, _time: Time, out: &mut Output) -> Result<()> {
        let changed = self.ranking.changed(self.first);
        if !changed.is_empty() {
            out.rows.push(self.ranking.put_out(&changed, &self.shape)?);
        }
        self.ranking.compact(&self.shape)?;
        self.first = self.ranking.len();
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(std::mem::take(&mut self.came))
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.came.clear();
        Ok(vec![Delta {
            kind: ROWS,
            rows: self.ranking.rows(&self.shape)?,
        }])
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        if delta.kind != ROWS {
            return Err(unknown_change(delta));
        }
        let rows = RecordBatch::try_new(self.shape.input.clone(), delta.rows.columns().to_vec())?;
        self.ranking.admit(&self.shape, &rows)?;
        self.ranking.compact(&self.shape)?;
        self.first = self.ranking.len();
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.ranking.bytes()
    }
}
