use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::kernels::cast_utils::Parser,
    datatypes::{Date32Type, Schema, Time64MicrosecondType},
};

use super::{
    datum::{put_long, put_sized},
    schema::{Meaning, Type, parse},
};
use crate::{
    Encoder, FormatError, Result, Schemas,
    cells::{Cell, Cells},
    column::{Taken, decimal},
    registry::frame,
};

const FORMAT: &str = "avro";

#[derive(Debug)]
pub(crate) struct AvroEncoder {
    /// The number of the schema, if records are framed.
    id: Option<u32>,
    /// For each field of the schema: its name, its type, which column it is.
    fields: Vec<(String, Arc<Type>, Option<usize>)>,
}

impl AvroEncoder {
    pub(crate) fn new(schemas: &Schemas, columns: &Schema) -> Result<Self> {
        let wrong = |reason| FormatError::Columns { format: FORMAT, reason };
        let (id, text) = match schemas {
            Schemas::Local(schema) => (None, schema.to_string()),
            Schemas::Registry { registry, subject } => {
                let (id, schema) = registry.latest(subject).map_err(wrong)?;
                (Some(id), schema)
            }
        };
        let schema = parse(&text).map_err(wrong)?;
        let Type::Record(fields) = &*schema else {
            return Err(wrong("needs a schema that is a record".to_owned()));
        };
        if let Some(column) = columns
            .fields()
            .iter()
            .find(|column| fields.iter().all(|(name, _)| name != column.name()))
        {
            return Err(wrong(format!(
                "has no field for the column {:?} in its schema: add it, or leave the column out",
                column.name()
            )));
        }
        let fields = fields.iter().map(|(name, schema)| {
            let column = columns.index_of(name).ok();
            if column.is_none() && !accepts(schema, &Cell::Null) {
                return Err(wrong(format!(
                    "needs a column {name:?}: its schema does not let it be null"
                )));
            }
            Ok((name.clone(), schema.clone(), column))
        });
        Ok(Self {
            id,
            fields: fields.collect::<Result<_>>()?,
        })
    }
}

impl Encoder for AvroEncoder {
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = Cells::of(rows, FORMAT)?;
        let before = (values.len(), ends.len());
        for row in 0..rows.num_rows() {
            if let Some(id) = self.id {
                frame(id, values);
            }
            for (name, schema, column) in &self.fields {
                let cell = column.map_or(Cell::Null, |column| columns[column].get(row));
                write(schema, cell, row, values).map_err(|reason| {
                    values.truncate(before.0);
                    ends.truncate(before.1);
                    FormatError::Encode {
                        format: FORMAT,
                        reason: format!("{name:?}: {reason}"),
                    }
                })?;
            }
            ends.push(values.len());
        }
        Ok(())
    }
}

/// Whether a value can be of this type, by its kind.
fn accepts(schema: &Type, cell: &Cell<'_>) -> bool {
    match schema {
        Type::Union(branches) => branches.iter().any(|branch| accepts(branch, cell)),
        Type::Null => matches!(cell, Cell::Null),
        Type::Boolean => matches!(cell, Cell::Boolean(_)),
        Type::Long(Meaning::Number) => matches!(cell, Cell::Integer(_) | Cell::Unsigned(_)),
        Type::Long(Meaning::Instant { .. }) => matches!(cell, Cell::Instant(_)),
        Type::Float => matches!(cell, Cell::Float32(_)),
        Type::Double => matches!(cell, Cell::Float32(_) | Cell::Float64(_) | Cell::Integer(_)),
        Type::Bytes { decimal: Some(_), .. } => matches!(cell, Cell::Decimal(_)),
        Type::Bytes { .. } => matches!(cell, Cell::Bytes(_)),
        Type::String | Type::Enum(_) | Type::Long(_) => matches!(cell, Cell::Text(_)),
        Type::Array(_) => matches!(cell, Cell::List(..)),
        Type::Record(_) => matches!(cell, Cell::Struct(_)),
        Type::Map(_) => false,
    }
}

/// Writes the value of a row.
fn write(schema: &Type, cell: Cell<'_>, row: usize, out: &mut Vec<u8>) -> Taken {
    match (schema, cell) {
        (Type::Union(branches), cell) => {
            let index = branches.iter().position(|branch| accepts(branch, &cell));
            let index = index.ok_or_else(|| format!("no branch of its union takes {cell:?}"))?;
            put_long(index as i64, out);
            return write(&branches[index], cell, row, out);
        }
        (Type::Null, Cell::Null) => {}
        (Type::Boolean, Cell::Boolean(value)) => out.push(value.into()),
        (Type::Long(Meaning::Number), Cell::Integer(value)) => put_long(value, out),
        (Type::Long(Meaning::Number), Cell::Unsigned(value)) => {
            put_long(
                i64::try_from(value).map_err(|_| format!("{value} is too large for a long"))?,
                out,
            );
        }
        (Type::Long(Meaning::Instant { per_second }), Cell::Instant(instant)) => {
            let value = instant.in_units(*per_second);
            put_long(
                i64::try_from(value).map_err(|_| "a time that its unit can't count")?,
                out,
            );
        }
        (Type::Long(Meaning::Date), Cell::Text(text)) => {
            put_long(
                Date32Type::parse(text)
                    .ok_or_else(|| format!("{text} is no date"))?
                    .into(),
                out,
            );
        }
        (Type::Long(Meaning::Time { per_second }), Cell::Text(text)) => {
            let micros = Time64MicrosecondType::parse(text).ok_or_else(|| format!("{text} is no time of day"))?;
            put_long(micros / (1_000_000 / per_second), out);
        }
        (Type::Float, Cell::Float32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Type::Double, Cell::Float32(value)) => out.extend_from_slice(&f64::from(value).to_le_bytes()),
        (Type::Double, Cell::Float64(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Type::Double, Cell::Integer(value)) => out.extend_from_slice(&(value as f64).to_le_bytes()),
        (
            Type::Bytes {
                fixed,
                decimal: Some(scale),
            },
            Cell::Decimal(text),
        ) => {
            let value = decimal(text, 38, *scale)
                .ok_or_else(|| format!("{text} has more than {scale} digits after its point"))?;
            let bytes = value.to_be_bytes();
            match *fixed {
                None => put_sized(&bytes, out),
                Some(size) if size >= bytes.len() => {
                    let filler = if value < 0 { 0xff } else { 0 };
                    out.extend(std::iter::repeat_n(filler, size - bytes.len()));
                    out.extend_from_slice(&bytes);
                }
                Some(size) => {
                    return Err(format!(
                        "a decimal number needs a fixed of 16 bytes or more, not {size}"
                    ));
                }
            }
        }
        (
            Type::Bytes {
                fixed: None,
                decimal: None,
            },
            Cell::Bytes(bytes),
        ) => put_sized(bytes, out),
        (
            Type::Bytes {
                fixed: Some(size),
                decimal: None,
            },
            Cell::Bytes(bytes),
        ) if bytes.len() == *size => {
            out.extend_from_slice(bytes);
        }
        (Type::String, Cell::Text(text)) => put_sized(text.as_bytes(), out),
        (Type::Enum(symbols), Cell::Text(text)) => {
            let symbol = symbols.iter().position(|symbol| symbol == text);
            put_long(
                symbol.ok_or_else(|| format!("{text:?} is no symbol of its enum"))? as i64,
                out,
            );
        }
        (Type::Array(item), Cell::List(elements, range)) => {
            if !range.is_empty() {
                put_long(range.len() as i64, out);
                range
                    .into_iter()
                    .try_for_each(|element| write(item, elements.get(element), element, out))?;
            }
            put_long(0, out);
        }
        (Type::Record(fields), Cell::Struct(cells)) => {
            for (name, schema) in fields {
                let cell = cells.iter().find(|(field, _)| field == name);
                let cell = cell.map_or(Cell::Null, |(_, cells)| cells.get(row));
                write(schema, cell, row, out).map_err(|reason| format!("{name:?}: {reason}"))?;
            }
        }
        (_, cell) => return Err(format!("its schema does not take {cell:?}")),
    }
    Ok(())
}
