//! Keys, each with a number.
use std::hash::BuildHasher;

use arrow::{
    array::{ArrayRef, new_null_array},
    datatypes::DataType,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::hash_utils::RandomState;
use hashbrown::HashTable;

use crate::Result;

/// Distinct keys, numbered from 0 in the order in which they came. NULL equals NULL.
pub(super) struct Keys {
    format: Format,
    rows: Rows,
    /// Hash and number.
    numbers: HashTable<(u64, u32)>,
}

impl Keys {
    pub fn new(types: &[DataType]) -> Result<Self> {
        let format = Format::new(types.iter().cloned().map(SortField::new).collect())?;
        let rows = format.none();
        Ok(Self {
            format,
            rows,
            numbers: HashTable::new(),
        })
    }

    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// The numbers of these keys; a new key gets the next one.
    pub fn number(&mut self, columns: &[ArrayRef], count: usize) -> Result<Vec<u32>> {
        let coming = self.format.rows(columns, count)?;
        let mut numbers = Vec::with_capacity(count);
        for key in &coming {
            let (hash, next) = (RandomState::default().hash_one(key.data()), self.rows.num_rows() as u32);
            let is_it = |(other, number): &(u64, u32)| *other == hash && self.rows.row(*number as usize) == key;
            let entry = self
                .numbers
                .entry(hash, is_it, |(hash, _)| *hash)
                .or_insert((hash, next));
            numbers.push(entry.get().1);
            if entry.get().1 == next {
                self.rows.push(key);
            }
        }
        Ok(numbers)
    }

    /// The numbers of those keys that have one.
    pub fn find(&self, columns: &[ArrayRef], count: usize) -> Result<Vec<Option<u32>>> {
        let coming = self.format.rows(columns, count)?;
        let find = |key: arrow::row::Row| {
            let hash = RandomState::default().hash_one(key.data());
            let is_it = |(other, number): &(u64, u32)| *other == hash && self.rows.row(*number as usize) == key;
            self.numbers.find(hash, is_it).map(|(_, number)| *number)
        };
        Ok(coming.iter().map(find).collect())
    }

    /// The keys with these numbers.
    pub fn columns(&self, numbers: impl Iterator<Item = u32>) -> Result<Vec<ArrayRef>> {
        self.format
            .columns(numbers.map(|number| self.rows.row(number as usize)))
    }

    pub fn bytes(&self) -> usize {
        self.rows.size() + self.numbers.capacity() * (size_of::<(u64, u32)>() + 1)
    }
}

/// Arrow's row format, also for rows without columns (which are all equal).
pub(super) struct Format {
    converter: RowConverter,
    columns: usize,
}

impl Format {
    pub fn new(mut fields: Vec<SortField>) -> Result<Self> {
        let columns = fields.len();
        if columns == 0 {
            fields.push(SortField::new(DataType::Boolean));
        }
        Ok(Self {
            converter: RowConverter::new(fields)?,
            columns,
        })
    }

    pub fn none(&self) -> Rows {
        self.converter.empty_rows(0, 0)
    }

    pub fn rows(&self, columns: &[ArrayRef], count: usize) -> Result<Rows> {
        if self.columns == 0 {
            return Ok(self
                .converter
                .convert_columns(&[new_null_array(&DataType::Boolean, count)])?);
        }
        Ok(self.converter.convert_columns(columns)?)
    }

    fn columns<'a>(&self, rows: impl Iterator<Item = arrow::row::Row<'a>>) -> Result<Vec<ArrayRef>> {
        let mut columns = self.converter.convert_rows(rows)?;
        columns.truncate(self.columns);
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn columns(numbers: Vec<Option<i64>>, names: Vec<&str>) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(names))]
    }

    #[test]
    fn equal_keys_have_one_number() {
        let mut keys = Keys::new(&[DataType::Int64, DataType::Utf8]).unwrap();
        let coming = columns(
            vec![Some(1), None, Some(1), Some(1), None],
            vec!["a", "a", "b", "a", "a"],
        );
        assert_eq!(keys.number(&coming, 5).unwrap(), [0, 1, 2, 0, 1]);
        let others = columns(vec![Some(1), Some(2)], vec!["b", "b"]);
        assert_eq!(keys.find(&others, 2).unwrap(), [Some(2), None]);
        assert_eq!(
            &keys.columns([2, 1].into_iter()).unwrap(),
            &columns(vec![Some(1), None], vec!["b", "a"])
        );
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn without_columns_there_is_one_key() {
        let mut keys = Keys::new(&[]).unwrap();
        assert_eq!(keys.number(&[], 2).unwrap(), [0, 0]);
        assert_eq!(keys.columns([0].into_iter()).unwrap().len(), 0);
    }
}
