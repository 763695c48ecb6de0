use arrow::{array::RecordBatch, datatypes::Schema as Columns};

use super::{
    parse::parse,
    schema::{Field, Kind, Schema},
    wire::{put_bytes, put_varint, zig_zag},
};
use crate::{
    Encoder, FormatError, Result, Schemas,
    cells::{Cell, Cells},
    column::Taken,
    registry::frame,
};

const FORMAT: &str = "protobuf";

#[derive(Debug)]
pub(crate) struct ProtobufEncoder {
    /// What stands before each value.
    head: Vec<u8>,
    schema: Schema,
    /// The fields of the message that the columns go to, one for each column.
    fields: Vec<Field>,
}

impl ProtobufEncoder {
    pub(crate) fn new(schemas: &Schemas, message: Option<&str>, columns: &Columns) -> Result<Self> {
        let wrong = |reason| FormatError::Columns { format: FORMAT, reason };
        let mut head = Vec::new();
        let text = match schemas {
            Schemas::Local(text) => text.to_string(),
            Schemas::Registry { registry, subject } => {
                let (id, text) = registry.latest(subject).map_err(wrong)?;
                frame(id, &mut head);
                text
            }
        };
        let schema = parse(&text).map_err(wrong)?;
        let message = schema.message(message).map_err(wrong)?;
        if !head.is_empty() {
            let place = schema.roots.iter().position(|&root| root == message);
            match place.ok_or_else(|| wrong("needs a message that is not inside another".to_owned()))? {
                0 => head.push(0),
                place => [1, place as i64]
                    .into_iter()
                    .for_each(|number| put_varint(zig_zag(number), &mut head)),
            }
        }
        let fields = columns.fields().iter().map(|column| {
            let field = schema.messages[message]
                .fields
                .iter()
                .find(|field| field.name == *column.name());
            field.cloned().ok_or_else(|| {
                wrong(format!(
                    "has no field for the column {:?} in its message: add it, or leave the column out",
                    column.name()
                ))
            })
        });
        Ok(Self {
            fields: fields.collect::<Result<_>>()?,
            head,
            schema,
        })
    }
}

impl Encoder for ProtobufEncoder {
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = Cells::of(rows, FORMAT)?;
        let before = (values.len(), ends.len());
        for row in 0..rows.num_rows() {
            values.extend_from_slice(&self.head);
            for (field, column) in self.fields.iter().zip(&columns) {
                write_field(&self.schema, field, column.get(row), row, values).map_err(|reason| {
                    values.truncate(before.0);
                    ends.truncate(before.1);
                    FormatError::Encode {
                        format: FORMAT,
                        reason: format!("{:?}: {reason}", field.name),
                    }
                })?;
            }
            ends.push(values.len());
        }
        Ok(())
    }
}

fn write_field(schema: &Schema, field: &Field, cell: Cell<'_>, row: usize, out: &mut Vec<u8>) -> Taken {
    let mut one = |cell: Cell<'_>, row: usize| {
        put_varint(u64::from(field.number) << 3 | field.kind.wire(), out);
        write(schema, field.kind, cell, row, out)
    };
    match cell {
        Cell::Null => Ok(()),
        Cell::List(elements, range) if field.repeated => {
            range.into_iter().try_for_each(|element| match elements.get(element) {
                Cell::Null => Err("a repeated field can't have NULL in it".to_owned()),
                cell => one(cell, element),
            })
        }
        _ if field.repeated => Err("a repeated field takes a list".to_owned()),
        cell => one(cell, row),
    }
}

fn write(schema: &Schema, kind: Kind, cell: Cell<'_>, row: usize, out: &mut Vec<u8>) -> Taken {
    let whole = match &cell {
        Cell::Integer(value) => Some(*value),
        Cell::Unsigned(value) => i64::try_from(*value).ok(),
        _ => None,
    };
    let float = match &cell {
        Cell::Float32(value) => Some(f64::from(*value)),
        Cell::Float64(value) => Some(*value),
        _ => None,
    };
    let too_large = |_| format!("{whole:?} does not fit into {kind:?}");
    match (kind, &cell) {
        (Kind::Int, _) if whole.is_some() => put_varint(whole.unwrap_or_default() as u64, out),
        (Kind::Signed, _) if whole.is_some() => put_varint(zig_zag(whole.unwrap_or_default()), out),
        (Kind::Unsigned, Cell::Unsigned(value)) => put_varint(*value, out),
        (Kind::Unsigned, Cell::Integer(value)) => put_varint(u64::try_from(*value).map_err(too_large)?, out),
        (Kind::Fixed64, Cell::Unsigned(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Kind::Fixed64, Cell::Integer(value)) => {
            out.extend_from_slice(&u64::try_from(*value).map_err(too_large)?.to_le_bytes())
        }
        (Kind::SignedFixed64, Cell::Integer(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Kind::Fixed32, Cell::Integer(value)) => {
            out.extend_from_slice(&u32::try_from(*value).map_err(too_large)?.to_le_bytes())
        }
        (Kind::SignedFixed32, Cell::Integer(value)) => {
            out.extend_from_slice(&i32::try_from(*value).map_err(too_large)?.to_le_bytes())
        }
        (Kind::Double, _) if float.is_some() => out.extend_from_slice(&float.unwrap_or_default().to_le_bytes()),
        (Kind::Float, Cell::Float32(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (Kind::Bool, Cell::Boolean(value)) => out.push((*value).into()),
        (Kind::String, Cell::Text(text)) => put_bytes(text.as_bytes(), out),
        (Kind::Bytes, Cell::Bytes(bytes)) => put_bytes(bytes, out),
        (Kind::Enum(index), Cell::Text(text)) => {
            let symbol = schema.enums[index].values.iter().find(|(_, symbol)| symbol == text);
            put_varint(
                symbol.ok_or_else(|| format!("{text:?} is no symbol of its enum"))?.0 as u64,
                out,
            );
        }
        (Kind::Timestamp, Cell::Instant(instant)) => {
            let (seconds, nanos) = instant.point();
            let mut message = Vec::new();
            put_varint(1 << 3, &mut message);
            put_varint(seconds as u64, &mut message);
            put_varint(2 << 3, &mut message);
            put_varint(nanos.into(), &mut message);
            put_bytes(&message, out);
        }
        (Kind::Message(message), Cell::Struct(cells)) => {
            let mut bytes = Vec::new();
            for (name, cells) in *cells {
                let field = schema.messages[message].fields.iter().find(|field| field.name == *name);
                let field = field.ok_or_else(|| format!("its message has no field {name:?}"))?;
                write_field(schema, field, cells.get(row), row, &mut bytes)?;
            }
            put_bytes(&bytes, out);
        }
        _ => return Err(format!("its field is {kind:?}, which does not take {cell:?}")),
    }
    Ok(())
}
