//! Rows that came too late.
use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::panes::Windows;
use crate::{
    Result,
    operators::{Output, expressions::timestamps},
};

/// Rows of a batch of late rows.
const BATCH: usize = 8192;

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

    /// Writes each row once for each window that it missed. A row without time missed every window: it is written once, without one.
    /// Where a window begins that rows carry is not known.
    pub fn write(mut self, times: &Int64Array, windows: &Windows, watermark: i64, out: &mut Output) -> Result<()> {
        for (row, time) in times.iter().enumerate() {
            let Some(time) = time else {
                self.push(row, (None, None), out)?;
                continue;
            };
            for window in windows.windows(windows.pane(time), i64::MIN, watermark) {
                let start = (!matches!(windows, Windows::Carried)).then_some(window.start);
                self.push(row, (start, Some(window.end)), out)?;
            }
        }
        self.flush(out)
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
        let (starts, ends): (Vec<Option<i64>>, Vec<Option<i64>>) = windows.into_iter().unzip();
        let mut columns = rows.columns().to_vec();
        columns.push(timestamps(&Int64Array::from(starts), &self.time)?);
        columns.push(timestamps(&Int64Array::from(ends), &self.time)?);
        out.late.push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(())
    }
}
