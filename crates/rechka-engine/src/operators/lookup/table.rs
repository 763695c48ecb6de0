//! A table with its versions, by key.
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::SchemaRef,
};
use rechka_sql::plan::Expr;

use super::super::{
    expressions::{evaluate, microseconds},
    kept::Kept,
    keys::Keys,
};
use crate::{EngineError, Result};

/// No row.
const NONE: u32 = u32::MAX;

/// So many rows more than twice those that were needed may be kept before the others are thrown away.
const SLACK: usize = 1024;

/// The rows of a table, the last column of which says whether the key is deleted: the newest of each key, and, when they have times,
/// those before it that the watermark still allows to ask for.
pub(super) struct Table {
    schema: SchemaRef,
    on: Vec<Expr>,
    time: Option<usize>,
    keys: Keys,
    /// For each key its newest row, if there is one.
    newest: Vec<u32>,
    rows: Kept,
    /// For each row.
    versions: Vec<Version>,
    /// The number of rows at which to throw away those not needed.
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    /// From when on it is valid.
    time: i64,
    deleted: bool,
    /// The row of the same key that was valid before it.
    older: u32,
}

impl Table {
    pub fn new(schema: SchemaRef, on: Vec<Expr>, time: Option<usize>) -> Result<Self> {
        let types = on
            .iter()
            .map(|key| key.data_type(&schema))
            .collect::<Result<Vec<_>, _>>()?;
        let (keys, rows) = (Keys::new(&types)?, Kept::default());
        Ok(Self {
            schema,
            on,
            time,
            keys,
            newest: Vec::new(),
            rows,
            versions: Vec::new(),
            limit: SLACK,
        })
    }

    /// Forgets all rows.
    pub fn clear(&mut self) -> Result<()> {
        *self = Table::new(self.schema.clone(), std::mem::take(&mut self.on), self.time)?;
        Ok(())
    }

    /// Takes up rows, which replace those of the same keys: from their time on, or from the watermark on if that has passed it. Rows
    /// that nobody can ask for after the watermark may be forgotten.
    pub fn upsert(&mut self, rows: RecordBatch, watermark: i64) -> Result<()> {
        self.insert(rows, watermark)?;
        if self.versions.len() > self.limit {
            self.compact(watermark)?;
        }
        Ok(())
    }

    fn insert(&mut self, rows: RecordBatch, watermark: i64) -> Result<()> {
        let deleted = rows
            .columns()
            .last()
            .and_then(|column| column.as_boolean_opt())
            .cloned();
        let deleted =
            deleted.ok_or_else(|| EngineError::Query("a table's row does not say if it is deleted".into()))?;
        let times = self.time.map(|column| microseconds(rows.column(column))).transpose()?;
        let numbers = self.keys.number(&evaluate(&self.on, &rows)?, rows.num_rows())?;
        self.newest.resize(self.keys.len(), NONE);
        for (index, key) in numbers.into_iter().enumerate() {
            let row = self.versions.len() as u32;
            // What was valid before the watermark has been said.
            let time = times
                .as_ref()
                .filter(|times| times.is_valid(index))
                .map_or(i64::MIN, |times| times.value(index));
            let time = time.max(watermark);
            let deleted = deleted.is_valid(index) && deleted.value(index);
            let version = Version {
                time,
                deleted,
                older: NONE,
            };
            self.versions.push(version);
            self.link(key as usize, row);
            self.trim(key as usize, watermark);
        }
        self.rows.push(rows)
    }

    /// Puts a row before the first of its key that is not newer.
    fn link(&mut self, key: usize, row: u32) {
        let time = self.versions[row as usize].time;
        let (mut newer, mut older) = (NONE, self.newest[key]);
        while older != NONE && self.versions[older as usize].time > time {
            (newer, older) = (older, self.versions[older as usize].older);
        }
        self.versions[row as usize].older = older;
        match newer {
            NONE => self.newest[key] = row,
            newer => self.versions[newer as usize].older = row,
        }
    }

    /// Cuts off what was valid before the version that is valid at the watermark.
    fn trim(&mut self, key: usize, watermark: i64) {
        let mut row = self.newest[key];
        while row != NONE {
            let version = &mut self.versions[row as usize];
            if self.time.is_none() || version.time <= watermark {
                version.older = NONE;
            }
            row = version.older;
        }
    }

    /// Begins anew with the rows that are still needed.
    fn compact(&mut self, watermark: i64) -> Result<()> {
        let rows = self.needed(watermark)?;
        let mut compact = Table::new(self.schema.clone(), std::mem::take(&mut self.on), self.time)?;
        compact.insert(rows, watermark)?;
        compact.limit = 2 * compact.versions.len() + SLACK;
        *self = compact;
        Ok(())
    }

    /// The rows that are still needed, in the order in which they came: they give the same table when they come after the watermark.
    pub fn needed(&mut self, watermark: i64) -> Result<RecordBatch> {
        for key in 0..self.newest.len() {
            self.trim(key, watermark);
        }
        let mut needed = Vec::new();
        for newest in &self.newest {
            let mut row = *newest;
            while row != NONE {
                let version = self.versions[row as usize];
                // Without a version the table has as little as after a deletion, unless one may still come before that.
                let settled = self.time.is_none() || version.time <= watermark;
                if !(version.deleted && settled) {
                    needed.push(row);
                }
                row = version.older;
            }
        }
        needed.sort_unstable();
        self.rows.rows(&needed, &self.schema)
    }

    /// The numbers of the rows with these keys that are valid now, or at these times.
    pub fn find(&self, keys: &[ArrayRef], count: usize, times: Option<&[i64]>) -> Result<Vec<Option<u32>>> {
        let mut rows = self.keys.find(keys, count)?;
        for (index, row) in rows.iter_mut().enumerate() {
            let Some(key) = *row else { continue };
            let time = times.map_or(i64::MAX, |times| times[index]);
            let mut valid = self.newest[key as usize];
            while valid != NONE && self.versions[valid as usize].time > time {
                valid = self.versions[valid as usize].older;
            }
            *row = (valid != NONE && !self.versions[valid as usize].deleted).then_some(valid);
        }
        Ok(rows)
    }

    /// The rows, to choose from by their numbers.
    pub fn rows(&self) -> &Kept {
        &self.rows
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn bytes(&self) -> usize {
        let versions = self.versions.capacity() * size_of::<Version>() + self.newest.capacity() * size_of::<u32>();
        self.keys.bytes() + self.rows.bytes() + versions
    }
}
