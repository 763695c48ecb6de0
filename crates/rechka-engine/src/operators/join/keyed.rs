//! Rows with what it takes to match them.
use arrow::{
    array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array},
    buffer::NullBuffer,
    compute::take_record_batch,
};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use rechka_sql::plan::Expr;

use super::super::expressions::{evaluate, microseconds};
use crate::Result;

/// Rows of one side.
#[derive(Debug)]
pub(super) struct Keyed {
    pub rows: RecordBatch,
    /// In microseconds.
    pub times: Int64Array,
    /// Of the keys. Rows with equal hashes need not have equal keys.
    pub hashes: Vec<u64>,
    /// Which have found a partner.
    pub matched: Vec<bool>,
    /// Rows without a time, or with a key that is NULL, match nothing.
    matchable: Option<NullBuffer>,
}

impl Keyed {
    pub fn new(rows: RecordBatch, time: usize, keys: &[Expr]) -> Result<Self> {
        let times = microseconds(rows.column(time))?;
        let keys = evaluate(keys, &rows)?;
        let mut hashes = vec![0; rows.num_rows()];
        create_hashes(&keys, &RandomState::default(), &mut hashes)?;
        let absent = |key: &ArrayRef| key.logical_nulls();
        let matchable = keys.iter().fold(times.nulls().cloned(), |nulls, key| {
            NullBuffer::union(nulls.as_ref(), absent(key).as_ref())
        });
        let matched = vec![false; rows.num_rows()];
        Ok(Self {
            rows,
            times,
            hashes,
            matched,
            matchable: matchable.filter(|nulls| nulls.null_count() > 0),
        })
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// A row's time, if it has one.
    pub fn time(&self, row: usize) -> Option<i64> {
        self.times.is_valid(row).then(|| self.times.value(row))
    }

    pub fn is_matchable(&self, row: usize) -> bool {
        self.matchable.as_ref().is_none_or(|matchable| matchable.is_valid(row))
    }

    /// These rows only.
    pub fn take(&self, rows: Vec<u32>) -> Result<Self> {
        let chosen = |row: &u32| *row as usize;
        let matchable = |nulls: &NullBuffer| rows.iter().map(|row| nulls.is_valid(chosen(row))).collect();
        Ok(Self {
            times: rows
                .iter()
                .map(|row| self.times.value(chosen(row)))
                .collect::<Vec<_>>()
                .into(),
            hashes: rows.iter().map(|row| self.hashes[chosen(row)]).collect(),
            matched: rows.iter().map(|row| self.matched[chosen(row)]).collect(),
            matchable: self.matchable.as_ref().map(matchable),
            rows: take_record_batch(&self.rows, &UInt32Array::from(rows))?,
        })
    }

    /// The earliest and the latest time of the rows that can match.
    pub fn span(&self) -> Option<(i64, i64)> {
        let mut span = None;
        for row in (0..self.len()).filter(|row| self.is_matchable(*row)) {
            let time = self.times.value(row);
            let (earliest, latest) = span.unwrap_or((time, time));
            span = Some((time.min(earliest), time.max(latest)));
        }
        span
    }
}
