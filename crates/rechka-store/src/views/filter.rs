//! Which rows are wanted.
use std::collections::BTreeMap;

use arrow::datatypes::DataType;

use super::{columns::Columns, object::members, row::Row, scalar};
use crate::Result;

/// Rows whose columns have given values. Without any: all rows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Values of the first key columns: a beginning of the key's bytes.
    prefix: Vec<u8>,
    /// The other columns: name, type, and the bytes of the value.
    others: Vec<(String, DataType, Vec<u8>)>,
}

impl Filter {
    pub(super) fn new<'a>(columns: &Columns, equal: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut wanted = BTreeMap::new();
        let mut others = Vec::new();
        for (name, written) in equal {
            let value = columns.encode_value(name, written)?;
            // Said twice, it must be both.
            if let Some(value) = wanted.insert(name, value) {
                others.push((name, value));
            }
        }
        let mut prefix = Vec::new();
        for (name, _) in columns.key() {
            match wanted.remove(name) {
                Some(value) => prefix.extend(value),
                None => break,
            }
        }
        others.extend(wanted);
        let others = others
            .into_iter()
            .map(|(name, value)| Ok((name.to_owned(), columns.find(name)?.1.clone(), value)));
        Ok(Self {
            prefix,
            others: others.collect::<Result<_>>()?,
        })
    }

    /// One row: the one of this key.
    pub(super) fn key(key: &[u8]) -> Self {
        Self {
            prefix: key.to_vec(),
            others: Vec::new(),
        }
    }

    /// The keys of wanted rows begin so.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether the prefix says it all.
    pub(super) fn is_prefix(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether a row fits, beside its key's beginning.
    pub(super) fn fits(&self, row: &Row) -> bool {
        if self.others.is_empty() {
            return true;
        }
        let names: Vec<&str> = self.others.iter().map(|(name, ..)| name.as_str()).collect();
        let Ok(values) = members(row.value(), &names) else {
            return false;
        };
        let mut bytes = Vec::new();
        self.others.iter().zip(&values).all(|((_, kind, wanted), value)| {
            bytes.clear();
            scalar::encode(kind, value, &mut bytes);
            bytes == *wanted
        })
    }
}
