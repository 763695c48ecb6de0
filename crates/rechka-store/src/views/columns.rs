//! Names, types and key of a view.
use arrow::datatypes::DataType;
use rechka_formats::Format;
use rechka_sql::Relation;
use serde_json::Value;

use super::{object::members, scalar};
use crate::{Result, StoreError};

/// A key's bytes (`scalar.rs`), column after column.
pub(super) type Key = Box<[u8]>;

/// Names, types and key of a view.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    view: String,
    all: Vec<(String, DataType)>,
    /// The key columns in the order of the schema.
    key: Vec<usize>,
}

impl Columns {
    pub(super) fn of(relation: &Relation) -> Result<Self> {
        let refuse = |why: &str| {
            Err(StoreError::Relation(format!(
                "{:?} can't be kept as a view: {why}",
                relation.name
            )))
        };
        if relation.key.is_empty() {
            return refuse("it has no key");
        }
        if relation.format == Format::Arrow {
            return refuse("a record in Arrow holds many rows, and so has no key");
        }
        if relation.file.is_some() {
            return refuse("it is read from a file, and has no topic");
        }
        if !relation.metadata.is_empty() {
            return refuse("some of its columns are not in the values of its records");
        }
        let fields = relation.schema.fields();
        if relation.key.iter().any(|&column| column >= fields.len()) {
            return refuse("its key names a column that it has not");
        }
        let mut key = relation.key.clone();
        key.sort_unstable();
        Ok(Self {
            view: relation.name.to_string(),
            all: fields
                .iter()
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect(),
            key,
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(name, _)| name.as_str())
    }

    /// The key columns: names and types.
    pub(super) fn key(&self) -> impl ExactSizeIterator<Item = (&str, &DataType)> {
        self.key
            .iter()
            .map(|&column| (self.all[column].0.as_str(), &self.all[column].1))
    }

    /// A column: its name and its type.
    pub(super) fn find(&self, name: &str) -> Result<(&str, &DataType)> {
        let found = self.all.iter().find(|(known, _)| known == name);
        found
            .map(|(name, kind)| (name.as_str(), kind))
            .ok_or_else(|| StoreError::UnknownColumn {
                view: self.view.clone(),
                column: name.to_owned(),
                columns: self.names().map(str::to_owned).collect(),
            })
    }

    /// The key's bytes from how a record has it: an object of the key columns; a single column also bare, as other producers write it.
    pub(super) fn encode_key(&self, written: &str) -> Result<Key> {
        let names: Vec<&str> = self.key().map(|(name, _)| name).collect();
        let values = match members(written, &names) {
            Ok(values) => values,
            Err(_) if names.len() == 1 => vec![self.bare(written)?],
            Err(error) => return Err(self.no_key(written, &error.to_string())),
        };
        let mut bytes = Vec::new();
        for ((_, kind), value) in self.key().zip(&values) {
            scalar::encode(kind, value, &mut bytes);
        }
        Ok(bytes.into())
    }

    fn bare(&self, written: &str) -> Result<Value> {
        let parsed = self.key().next().and_then(|(_, kind)| scalar::parse(kind, written));
        parsed.ok_or_else(|| self.no_key(written, "it is neither an object nor a value of the key's type"))
    }

    fn no_key(&self, written: &str, why: &str) -> StoreError {
        let example: Vec<String> = self.key().map(|(name, _)| format!("{name:?}:…")).collect();
        StoreError::Value(format!(
            "{written:?} is no key of view {:?} ({why}): write {{{}}}",
            self.view,
            example.join(",")
        ))
    }

    /// The bytes of what a column is compared with, from how people write it.
    pub(super) fn encode_value(&self, name: &str, written: &str) -> Result<Vec<u8>> {
        let (_, kind) = self.find(name)?;
        let value = scalar::parse(kind, written).ok_or_else(|| {
            StoreError::Value(format!(
                "{written:?} can't be compared with column {name:?}, which is {kind}"
            ))
        })?;
        let mut bytes = Vec::new();
        scalar::encode(kind, &value, &mut bytes);
        Ok(bytes)
    }
}
