use arrow::{
    array::{RecordBatch, new_empty_array},
    datatypes::Schema,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::text::write_string;
use crate::{
    Encoder, FormatError, Result,
    cells::{Cell, Cells},
};

const FORMAT: &str = "json";

/// Writes objects, with all columns: NULL is `null`, bytes are Base64. Numbers that JSON does not have are text (`"NaN"`, `"Infinity"`,
/// `"-Infinity"`), as in the JSON of Protocol Buffers.
#[derive(Debug)]
pub(crate) struct JsonEncoder {
    /// `"name":` of each column, with what stands before.
    names: Vec<Vec<u8>>,
}

impl JsonEncoder {
    pub(crate) fn new(schema: &Schema) -> Result<Self> {
        let mut names = Vec::new();
        for field in schema.fields() {
            Cells::new(&new_empty_array(field.data_type())).map_err(|_| FormatError::Unsupported {
                format: FORMAT,
                column: field.name().clone(),
                data_type: field.data_type().clone(),
                instead: "cast it to VARCHAR, a number, TIMESTAMP, a struct or a list",
            })?;
            let mut name = vec![if names.is_empty() { b'{' } else { b',' }];
            write_string(field.name(), &mut name);
            name.push(b':');
            names.push(name);
        }
        Ok(Self { names })
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = Cells::of(rows, FORMAT)?;
        ends.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            if columns.is_empty() {
                values.push(b'{');
            }
            for (name, column) in self.names.iter().zip(&columns) {
                values.extend_from_slice(name);
                write(column.get(row), row, values);
            }
            values.push(b'}');
            ends.push(values.len());
        }
        Ok(())
    }
}

/// Writes the value that the column has in `row`.
#[inline]
fn write(cell: Cell<'_>, row: usize, out: &mut Vec<u8>) {
    match cell {
        Cell::Instant(instant) if instant.in_years_of_four_digits() => {
            out.push(b'"');
            instant.write(out);
            out.push(b'"');
        }
        Cell::Text(text) => write_string(text, out),
        Cell::Bytes(bytes) => {
            out.push(b'"');
            out.extend_from_slice(BASE64.encode(bytes).as_bytes());
            out.push(b'"');
        }
        Cell::List(elements, range) => {
            out.push(b'[');
            for element in range.clone() {
                if element > range.start {
                    out.push(b',');
                }
                write(elements.get(element), element, out);
            }
            out.push(b']');
        }
        Cell::Struct(fields) => {
            out.push(b'{');
            for (number, (name, column)) in fields.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(column.get(row), row, out);
            }
            out.push(b'}');
        }
        other => {
            if !other.write_number(out) {
                out.extend_from_slice(other.not_finite().unwrap_or("null").as_bytes());
            }
        }
    }
}
