//! The value itself as the only column.
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Schema, SchemaRef},
};
use rechka_log::Batch;

use crate::{Bad, Decoded, Decoder, Encoder, FormatError, Result, column::Rows};

const FORMAT: &str = "raw";

/// There must be one column, of bytes or text.
fn check(columns: &Schema) -> Result<()> {
    let [column] = &columns.fields()[..] else {
        return Err(FormatError::Columns {
            format: FORMAT,
            reason: format!(
                "has exactly one column, not {}: declare one of type BYTEA or VARCHAR",
                columns.fields().len()
            ),
        });
    };
    match column.data_type() {
        data_type if data_type.is_binary() || data_type.is_string() => Ok(()),
        other => Err(FormatError::Unsupported {
            format: FORMAT,
            column: column.name().clone(),
            data_type: other.clone(),
            instead: "declare it as BYTEA or VARCHAR",
        }),
    }
}

#[derive(Debug)]
pub(crate) struct RawDecoder {
    rows: Rows,
}

impl RawDecoder {
    pub(crate) fn new(declared: &Schema, read: SchemaRef) -> Result<Self> {
        check(declared)?;
        let rows = Rows::new(read, FORMAT)?;
        Ok(Self { rows })
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, batch: &Batch) -> Result<Decoded> {
        let mut bad = Vec::new();
        for (record, value) in batch.iter().map(|record| record.value).enumerate() {
            let taken = self
                .rows
                .push(|group, _| group.columns.iter_mut().try_for_each(|column| column.push_bytes(value)));
            if let Err(reason) = taken {
                bad.push(Bad { record, reason });
            }
        }
        Ok(Decoded {
            rows: self.rows.finish(),
            bad,
        })
    }
}

#[derive(Debug)]
pub(crate) struct RawEncoder;

impl RawEncoder {
    pub(crate) fn new(columns: &Schema) -> Result<Self> {
        check(columns)?;
        Ok(Self)
    }
}

impl Encoder for RawEncoder {
    /// NULL is written as an empty value.
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let bytes = cast(rows.column(0), &DataType::Binary).map_err(|error| FormatError::Encode {
            format: FORMAT,
            reason: error.to_string(),
        })?;
        let bytes = bytes.as_binary::<i32>();
        for row in 0..bytes.len() {
            if bytes.is_valid(row) {
                values.extend_from_slice(bytes.value(row));
            }
            ends.push(values.len());
        }
        Ok(())
    }
}
