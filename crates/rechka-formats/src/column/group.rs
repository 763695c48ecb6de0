//! Columns side by side: the fields of a struct, and the rows of a batch.
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Fields, SchemaRef},
};

use super::{Column, Taken};
use crate::Result;

/// Names are remembered for so many fields of an object, and up to this length.
const REMEMBERED: usize = 256;

/// The columns of a struct, found by name.
///
/// The objects of a stream usually have the same names in the same order. So the group remembers which name came at which place, and
/// finds a column by one comparison.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) columns: Vec<Column>,
    pub(crate) fields: Fields,
    remembered: Vec<(Vec<u8>, Option<usize>)>,
}

impl Group {
    pub(super) fn new(fields: &Fields, format: &'static str) -> Result<Self> {
        let columns = fields.iter().map(|field| Column::new(field, format));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            fields: fields.clone(),
            remembered: Vec::new(),
        })
    }

    /// The name that came last at this place of an object, if JSON has no escapes for it, and its column.
    #[inline]
    pub(crate) fn remembered(&self, place: usize) -> Option<(&[u8], Option<usize>)> {
        let (name, position) = self.remembered.get(place)?;
        Some((name, *position))
    }

    /// The column for the field of this name, which is at this place of its object.
    #[inline]
    pub(crate) fn position(&mut self, place: usize, name: &[u8]) -> Option<usize> {
        match self.remembered.get(place) {
            Some((remembered, position)) if remembered == name => *position,
            _ => self.look_up(place, name),
        }
    }

    #[cold]
    fn look_up(&mut self, place: usize, name: &[u8]) -> Option<usize> {
        let position = self.find(name);
        let plain = !name.iter().any(|&byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        if place < REMEMBERED && name.len() < REMEMBERED && plain {
            if place >= self.remembered.len() {
                let empty = (Vec::new(), self.find(&[]));
                self.remembered.resize(place + 1, empty);
            }
            let (remembered, at) = &mut self.remembered[place];
            remembered.clear();
            remembered.extend_from_slice(name);
            *at = position;
        }
        position
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let names = || self.fields.iter().map(|field| field.name().as_bytes());
        names()
            .position(|field| field == name)
            .or_else(|| names().position(|field| field.eq_ignore_ascii_case(name)))
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(len));
    }

    /// Ends a row: NULL in every column that got no value for it. `rows` were there before.
    pub(crate) fn complete(&mut self, rows: usize) -> Taken {
        for (column, field) in self.columns.iter_mut().zip(&self.fields) {
            if column.len() == rows {
                column
                    .push_null()
                    .map_err(|reason| format!("{:?} {reason}", field.name()))?;
            }
        }
        Ok(())
    }
}

/// The rows of a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    group: Group,
    len: usize,
}

impl Rows {
    pub(crate) fn new(schema: SchemaRef, format: &'static str) -> Result<Self> {
        let group = Group::new(schema.fields(), format)?;
        Ok(Self { schema, group, len: 0 })
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.group.columns.iter_mut().for_each(|column| column.reserve(more));
    }

    /// Adds the row that `fill` puts into the columns, given how many rows there are before; none of it if that fails.
    #[inline]
    pub(crate) fn push(&mut self, fill: impl FnOnce(&mut Group, usize) -> Taken) -> Taken {
        let taken = fill(&mut self.group, self.len);
        match taken {
            Ok(()) => self.len += 1,
            Err(_) => self.group.truncate(self.len),
        }
        taken
    }

    /// All rows since the last time.
    #[expect(clippy::expect_used, reason = "every row has a value in every column, of its type")]
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let columns = self.group.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.len)));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).expect("columns are of one length")
    }
}
