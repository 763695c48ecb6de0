//! Rows kept in memory, by number.
use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array},
    compute::{concat_batches, interleave, take},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use datafusion::common::utils::memory::get_record_batch_memory_size;

use crate::{EngineError, Result};

/// Batches are merged up to so many rows and bytes: many small ones would cost more to read than their rows.
const MERGED_ROWS: usize = 32 * 1024;
const MERGED_BYTES: usize = 16 * 1024 * 1024;

/// Rows in the order in which they came; the first has number 0. Like the levels of an LSM tree, a batch is merged with the one
/// before it when that is not larger, so that a row is copied a logarithmic number of times.
#[derive(Debug, Default)]
pub(super) struct Kept {
    runs: Vec<Run>,
    bytes: usize,
}

#[derive(Debug)]
struct Run {
    first: u32,
    rows: RecordBatch,
    bytes: usize,
}

impl Run {
    fn mergeable(&self) -> bool {
        self.rows.num_rows() < MERGED_ROWS && self.bytes < MERGED_BYTES
    }
}

impl Kept {
    /// The rows with these numbers.
    pub fn rows(&self, numbers: &[u32], schema: &SchemaRef) -> Result<RecordBatch> {
        if numbers.is_empty() {
            return Ok(RecordBatch::new_empty(schema.clone()));
        }
        let mut chosen = Chosen::default();
        chosen.add(self);
        let places: Vec<_> = numbers.iter().map(|row| chosen.place(0, *row)).collect();
        let columns = (0..schema.fields().len()).map(|column| chosen.column(column, &places));
        Ok(RecordBatch::try_new(
            schema.clone(),
            columns.collect::<Result<_, _>>()?,
        )?)
    }

    pub fn len(&self) -> usize {
        self.runs
            .last()
            .map_or(0, |run| run.first as usize + run.rows.num_rows())
    }

    /// Memory of the rows.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.runs.iter().map(|run| &run.rows)
    }

    pub fn push(&mut self, rows: RecordBatch) -> Result<()> {
        let number = u32::try_from(self.len())
            .ok()
            .filter(|first| first.checked_add(rows.num_rows() as u32).is_some());
        let first =
            number.ok_or_else(|| EngineError::Query("more than 4294967295 rows to keep in one place".into()))?;
        let mut run = Run {
            first,
            bytes: get_record_batch_memory_size(&rows),
            rows,
        };
        self.bytes += run.bytes;
        while let Some(last) = self.runs.last() {
            let fits = last.mergeable() && run.mergeable() && last.rows.num_rows() <= 2 * run.rows.num_rows();
            if !fits {
                break;
            }
            let rows = concat_batches(&last.rows.schema(), [&last.rows, &run.rows])?;
            let merged = Run {
                first: last.first,
                bytes: get_record_batch_memory_size(&rows),
                rows,
            };
            self.bytes = self.bytes + merged.bytes - last.bytes - run.bytes;
            self.runs.pop();
            run = merged;
        }
        self.runs.push(run);
        Ok(())
    }
}

/// Rows chosen from several [`Kept`].
#[derive(Debug, Default)]
pub(super) struct Chosen<'a> {
    batches: Vec<&'a RecordBatch>,
    sources: Vec<(&'a Kept, usize)>,
}

impl<'a> Chosen<'a> {
    /// Rows may be chosen from these, too. Gives their place among the sources.
    pub fn add(&mut self, kept: &'a Kept) -> usize {
        self.sources.push((kept, self.batches.len()));
        self.batches.extend(kept.batches());
        self.sources.len() - 1
    }

    /// Where a row is, for [`Chosen::column`].
    pub fn place(&self, source: usize, row: u32) -> (usize, usize) {
        let (kept, batches) = self.sources[source];
        let run = kept.runs.partition_point(|run| run.first <= row) - 1;
        (batches + run, (row - kept.runs[run].first) as usize)
    }

    /// A column of the rows at these places.
    pub fn column(&self, column: usize, places: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        if let [batch] = self.batches.as_slice() {
            let rows = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row as u32));
            return take(batch.column(column), &rows, None);
        }
        interleave(&self.columns(column), places)
    }

    /// The same, with NULL where there is no row.
    pub fn column_or_null(
        &self,
        column: usize,
        data_type: &DataType,
        places: &[Option<(usize, usize)>],
    ) -> Result<ArrayRef, ArrowError> {
        if let [batch] = self.batches.as_slice() {
            let rows: UInt32Array = places.iter().map(|place| place.map(|(_, row)| row as u32)).collect();
            return take(batch.column(column), &rows, None);
        }
        let (null, mut columns) = (new_null_array(data_type, 1), self.columns(column));
        let missing = (columns.len(), 0);
        columns.push(&null);
        interleave(
            &columns,
            &places.iter().map(|place| place.unwrap_or(missing)).collect::<Vec<_>>(),
        )
    }

    fn columns(&self, column: usize) -> Vec<&dyn Array> {
        self.batches.iter().map(|batch| batch.column(column).as_ref()).collect()
    }
}
