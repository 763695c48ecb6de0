//! Rows that came too late.
use std::sync::Arc;

use arrow::{
    array::{RecordBatch, TimestampMicrosecondArray, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::{
    panes::Windows,
    time::{Times, from_micros},
};
use crate::{Result, operators::Output};

/// Rows of a batch of late rows.
const BATCH: usize = 8192;

/// Writes each row once for each window that it missed, with the window. A row without time missed every window: it is written once,
/// without a window. The start of a window that rows carry is not known.
pub(super) fn write_late(
    rows: &RecordBatch,
    times: &Times,
    windows: &Windows,
    watermark: i64,
    out: &mut Output,
) -> Result<()> {
    let mut late = LateRows::new(rows, &times.column_type);
    for row in 0..rows.num_rows() {
        let Some(time) = times.get(row) else {
            late.push(row, (None, None), out)?;
            continue;
        };
        let pane = windows.pane(time);
        for window in windows.windows(pane, i64::MIN, watermark) {
            let start = (!matches!(windows, Windows::Carried)).then_some(window.start);
            late.push(row, (start, Some(window.end)), out)?;
        }
    }
    late.flush(out)
}

/// Late rows with the windows that they missed.
pub(super) struct LateRows<'a> {
    rows: &'a RecordBatch,
    schema: SchemaRef,
    time: DataType,
    indices: Vec<u32>,
    /// Start and end of each row's window.
    windows: Vec<(Option<i64>, Option<i64>)>,
}

impl<'a> LateRows<'a> {
    /// Of a batch whose times are of this type.
    pub fn new(rows: &'a RecordBatch, time: &DataType) -> Self {
        let time = time.clone();
        let schema = rows.schema();
        let window = ["window_start", "window_end"].map(|name| Arc::new(Field::new(name, time.clone(), true)));
        let fields: Vec<_> = schema.fields().iter().cloned().chain(window).collect();
        LateRows {
            rows,
            schema: Arc::new(Schema::new(fields)),
            time,
            indices: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// Adds a row and a window that it missed.
    pub fn push(&mut self, row: usize, window: (Option<i64>, Option<i64>), out: &mut Output) -> Result<()> {
        self.indices.push(row as u32);
        self.windows.push(window);
        if self.indices.len() >= BATCH {
            self.flush(out)
        } else {
            Ok(())
        }
    }

    /// Writes what is there.
    pub fn flush(&mut self, out: &mut Output) -> Result<()> {
        if self.indices.is_empty() {
            return Ok(());
        }
        let rows = take_record_batch(self.rows, &UInt32Array::from(std::mem::take(&mut self.indices)))?;
        let windows = std::mem::take(&mut self.windows);
        let starts: TimestampMicrosecondArray = windows.iter().map(|window| window.0).collect();
        let ends: TimestampMicrosecondArray = windows.iter().map(|window| window.1).collect();
        let mut columns = rows.columns().to_vec();
        columns.push(from_micros(starts, &self.time)?);
        columns.push(from_micros(ends, &self.time)?);
        out.late.push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(())
    }
}
