//! The watermark as a change of state: what is forgotten follows from it.
use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema},
};

use super::{Delta, unknown_change};
use crate::Result;

/// The last moment of which no row is expected any more.
pub(super) fn last_complete(watermark: i64) -> i64 {
    if watermark == i64::MAX {
        i64::MAX
    } else {
        watermark.saturating_sub(1)
    }
}

/// The watermark that an operator's state reflects.
#[derive(Debug)]
pub(super) struct Watermark {
    now: i64,
    written: i64,
}

impl Watermark {
    pub fn new() -> Self {
        Self {
            now: i64::MIN,
            written: i64::MIN,
        }
    }

    pub fn get(&self) -> i64 {
        self.now
    }

    pub fn advance(&mut self, watermark: i64) {
        self.now = watermark.max(self.now);
    }

    /// Ends the changes of an epoch: with the watermark, if it moved, or if there are others, some of which it may end at once.
    pub fn end_deltas(&mut self, deltas: &mut Vec<Delta>, kind: u8) -> Result<()> {
        if self.now != self.written || !deltas.is_empty() {
            deltas.push(self.snapshot(kind)?);
        }
        Ok(())
    }

    /// The watermark itself as a change.
    pub fn snapshot(&mut self, kind: u8) -> Result<Delta> {
        self.written = self.now;
        let schema = Schema::new(vec![Field::new("watermark", DataType::Int64, false)]);
        let watermark = Int64Array::from_value(self.now, 1);
        Ok(Delta {
            kind,
            rows: RecordBatch::try_new(Arc::new(schema), vec![Arc::new(watermark)])?,
        })
    }

    /// Takes up a change, and gives the watermark.
    pub fn restore(&mut self, delta: &Delta) -> Result<i64> {
        let column = delta
            .rows
            .columns()
            .first()
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let watermark = column
            .filter(|column| column.len() == 1)
            .ok_or_else(|| unknown_change(delta))?
            .value(0);
        self.advance(watermark);
        self.written = self.now;
        Ok(self.now)
    }
}
