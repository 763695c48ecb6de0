//! Rows that came too late.
use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::panes::{Span, Windows};
use crate::{
    Result,
    operators::{Output, expressions::timestamps},
};

/// Rows of a batch of late rows.
const BATCH: usize = 8192;

/// Late rows, with the windows that they missed behind their columns, unless they carry their windows themselves.
pub(super) struct LateRows<'a> {
    rows: &'a RecordBatch,
    schema: SchemaRef,
    /// The type of the windows' columns, if there are some.
    time: Option<DataType>,
    indices: Vec<u32>,
    /// The window of each row.
    windows: Vec<Option<Span>>,
}

impl<'a> LateRows<'a> {
    /// Of a batch whose times are of this type.
    pub fn new(rows: &'a RecordBatch, time: &DataType) -> Self {
        let window = ["window_start", "window_end"].map(|name| Arc::new(Field::new(name, time.clone(), true)));
        let fields: Vec<_> = rows.schema_ref().fields().iter().cloned().chain(window).collect();
        LateRows {
            schema: Arc::new(Schema::new(fields)),
            time: Some(time.clone()),
            ..LateRows::with_their_windows(rows)
        }
    }

    /// Of a batch of rows that carry their windows.
    pub fn with_their_windows(rows: &'a RecordBatch) -> Self {
        LateRows {
            rows,
            schema: rows.schema(),
            time: None,
            indices: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// Writes each row once for each window that it missed. A row without time missed every window: it is written
    /// once, without one.
    pub fn write(mut self, times: &Int64Array, windows: &Windows, watermark: i64, out: &mut Output) -> Result<()> {
        for (row, time) in times.iter().enumerate() {
            let Some(time) = time else {
                self.push(row, None, out)?;
                continue;
            };
            for window in windows.windows(windows.pane(time), i64::MIN, watermark) {
                self.push(row, Some(window), out)?;
            }
        }
        self.flush(out)
    }

    /// Adds a row and a window that it missed.
    pub fn push(&mut self, row: usize, window: Option<Span>, out: &mut Output) -> Result<()> {
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
        let mut columns = rows.columns().to_vec();
        if let Some(time) = &self.time {
            for bound in [|window: Span| window.start, |window: Span| window.end] {
                let bounds: Int64Array = windows.iter().map(|window| window.map(bound)).collect();
                columns.push(timestamps(&bounds, time)?);
            }
        }
        out.late.push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(())
    }
}
