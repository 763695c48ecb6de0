//! Columns that do not come from the value of a record.
use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
    },
    compute::cast,
    datatypes::{Schema, SchemaRef},
};
use rechka_log::{Fetched, RecordRef};
use rechka_sql::{Metadata, Relation};

use crate::Result;

/// How the columns that a stage reads come together.
pub(super) struct Columns {
    schema: SchemaRef,
    /// For each column where it comes from; `None`: the value.
    from: Vec<Option<Metadata>>,
}

impl Columns {
    /// `schema`: the columns that are read.
    pub fn new(relation: &Relation, schema: SchemaRef) -> Self {
        let from = |name: &String| {
            let mut metadata = relation.metadata.iter();
            let found = metadata.find(|(index, _)| relation.schema.field(*index).name() == name);
            found.map(|(_, metadata)| metadata.clone())
        };
        Columns {
            from: schema.fields().iter().map(|field| from(field.name())).collect(),
            schema,
        }
    }

    /// Whether all columns come from the value.
    pub fn all_from_value(&self) -> bool {
        self.from.iter().all(Option::is_none)
    }

    /// The columns that come from the value.
    pub fn of_value(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().zip(&self.from);
        let fields = fields
            .filter(|(_, from)| from.is_none())
            .map(|(field, _)| field.clone());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// All columns, from those of the values and the numbers of the records that they come from.
    pub fn complete(&self, values: RecordBatch, fetched: &Fetched, records: &[usize]) -> Result<RecordBatch> {
        if self.all_from_value() {
            return Ok(values);
        }
        let mut values = values.columns().iter();
        let mut columns = Vec::with_capacity(self.from.len());
        for (field, from) in self.schema.fields().iter().zip(&self.from) {
            match from {
                Some(metadata) => columns.push(cast(&column(metadata, fetched, records), field.data_type())?),
                None => columns.extend(values.next().cloned()),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }
}

/// The columns of a relation that come from the value.
pub(super) fn declared(relation: &Relation) -> Schema {
    let fields = relation.schema.fields().iter().enumerate();
    let fields = fields.filter(|(number, _)| relation.metadata.iter().all(|(index, _)| index != number));
    Schema::new(fields.map(|(_, field)| field.clone()).collect::<Vec<_>>())
}

fn column(metadata: &Metadata, fetched: &Fetched, records: &[usize]) -> ArrayRef {
    let each = records.iter().map(|record| fetched.batch.get(*record));
    let bytes = |get: &dyn Fn(RecordRef<'_>) -> Option<Vec<u8>>| -> ArrayRef {
        Arc::new(BinaryArray::from_iter(each.clone().map(|record| get(record?))))
    };
    match metadata {
        Metadata::Key => bytes(&|record| record.key.map(<[u8]>::to_vec)),
        Metadata::Header(name) => bytes(&|record| record.header(name).map(<[u8]>::to_vec)),
        Metadata::Timestamp => {
            let timestamps = each.map(|record| Some(record?.timestamp));
            Arc::new(TimestampMillisecondArray::from_iter(timestamps))
        }
        Metadata::Offset => {
            let offsets = records.iter().map(|record| fetched.base_offset as i64 + *record as i64);
            Arc::new(Int64Array::from_iter_values(offsets))
        }
        Metadata::Partition => Arc::new(Int32Array::from(vec![fetched.from.partition as i32; records.len()])),
    }
}
