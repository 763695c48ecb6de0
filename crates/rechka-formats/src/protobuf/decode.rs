use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rechka_log::Batch;

use super::{
    parse::parse,
    schema::{Field, Kind, Schema},
    wire::{Wire, fields, un_zig_zag, value, varint},
};
use crate::{
    Bad, Decoded, Decoder, FormatError, Result, Schemas,
    column::{Column, Data, Group, Rows, Taken},
    registry::{Known, NOT_FRAMED, Obstacle, unframe},
};

/// Messages inside each other that a frame may name.
const MAX_PATH: u64 = 64;

#[derive(Debug)]
pub(crate) struct ProtobufDecoder {
    rows: Rows,
    writer: Writer,
}

#[derive(Debug)]
enum Writer {
    One(Arc<Schema>, usize),
    Numbered(Known<Schema>),
}

impl ProtobufDecoder {
    pub(crate) fn new(schemas: &Schemas, message: Option<&str>, read: SchemaRef) -> Result<Self> {
        let wrong = |reason| FormatError::Columns {
            format: "protobuf",
            reason,
        };
        Ok(Self {
            rows: Rows::new(read, "protobuf")?,
            writer: match schemas {
                Schemas::Local(text) => {
                    let schema = parse(text).map_err(wrong)?;
                    let message = schema.message(message).map_err(wrong)?;
                    Writer::One(Arc::new(schema), message)
                }
                Schemas::Registry { registry, .. } => Writer::Numbered(Known::new(registry.clone())),
            },
        })
    }
}

impl Writer {
    /// The schema of a record, its message there, and its bytes without frame.
    fn split<'a>(&mut self, record: &'a [u8]) -> std::result::Result<(Arc<Schema>, usize, &'a [u8]), Obstacle> {
        match self {
            Self::One(schema, message) => Ok((schema.clone(), *message, record)),
            Self::Numbered(known) => {
                let (id, mut value) = unframe(record).ok_or_else(|| NOT_FRAMED.to_owned())?;
                let schema = known.get(id, |text| parse(text).map(Arc::new))?;
                let path = path(&mut value)?;
                let message = schema
                    .at(&path)
                    .ok_or_else(|| format!("schema {id} has no message at {path:?}"))?;
                Ok((schema, message, value))
            }
        }
    }
}

/// Which message a framed record holds: how many indexes, then the indexes; none stands for the first message.
fn path(value: &mut &[u8]) -> std::result::Result<Vec<usize>, String> {
    match un_zig_zag(varint(value)?) {
        0 => Ok(vec![0]),
        count @ 1.. if (count as u64) <= MAX_PATH => {
            let indexes = (0..count)
                .map(|_| usize::try_from(un_zig_zag(varint(value)?)).map_err(|_| "a negative index".to_owned()));
            indexes.collect()
        }
        count => Err(format!("{count} indexes of messages")),
    }
}

impl Decoder for ProtobufDecoder {
    fn decode(&mut self, batch: &Batch) -> Result<Decoded> {
        self.rows.reserve(batch.len());
        if let Writer::Numbered(known) = &mut self.writer {
            known.begin();
        }
        let mut bad = Vec::new();
        for (number, record) in batch.iter().enumerate() {
            let taken = self.writer.split(record.value).and_then(|(schema, message, value)| {
                let taken = self
                    .rows
                    .push(|group, rows| message_into(&schema, message, value, group, rows));
                Ok(taken?)
            });
            match taken {
                Ok(()) => {}
                Err(Obstacle::Bad(reason)) => bad.push(Bad { record: number, reason }),
                Err(Obstacle::Registry(error)) => {
                    drop(self.rows.finish());
                    return Err(error);
                }
            }
        }
        Ok(Decoded {
            rows: self.rows.finish(),
            bad,
        })
    }
}

fn message_into(schema: &Schema, message: usize, bytes: &[u8], group: &mut Group, rows: usize) -> Taken {
    let written = fields(bytes)?;
    for (place, field) in schema.messages[message].fields.iter().enumerate() {
        let Some(position) = group.position(place, field.name.as_bytes()) else {
            continue;
        };
        let column = &mut group.columns[position];
        column.truncate(rows);
        let mut values = written
            .iter()
            .filter(|(number, _)| *number == u64::from(field.number))
            .map(|(_, value)| *value);
        let taken = match (field.repeated, field.explicit) {
            (true, _) => list_into(schema, field, values, column),
            (false, explicit) => match values.next_back() {
                Some(value) => value_into(schema, field, value, column),
                None if explicit => column.push_null(),
                None => default_into(schema, field.kind, column),
            },
        };
        taken.map_err(|reason| format!("{:?}: {reason}", field.name))?;
    }
    group.complete(rows)
}

fn list_into<'a>(schema: &Schema, field: &Field, values: impl Iterator<Item = Wire<'a>>, column: &mut Column) -> Taken {
    let Data::List { ends, element } = column.data() else {
        return column.misfit("a repeated field");
    };
    for one in values {
        match one {
            // Numbers may be packed: one after another without their tags.
            Wire::Bytes(mut packed) if field.kind.wire() != 2 => {
                while !packed.is_empty() {
                    value_into(schema, field, value(&mut packed, field.kind.wire())?, element)?;
                }
            }
            one => value_into(schema, field, one, element)?,
        }
    }
    ends.push(element.len() as i32);
    column.filled();
    Ok(())
}

fn value_into(schema: &Schema, field: &Field, value: Wire<'_>, column: &mut Column) -> Taken {
    match (field.kind, value) {
        (Kind::Int, Wire::Varint(value)) => column.push_whole(value as i64),
        (Kind::Unsigned, Wire::Varint(value)) | (Kind::Fixed64, Wire::Fixed64(value)) => column.push_unsigned(value),
        (Kind::Signed, Wire::Varint(value)) => column.push_whole(un_zig_zag(value)),
        (Kind::SignedFixed64, Wire::Fixed64(value)) => column.push_whole(value as i64),
        (Kind::Fixed32, Wire::Fixed32(value)) => column.push_whole(value.into()),
        (Kind::SignedFixed32, Wire::Fixed32(value)) => column.push_whole((value as i32).into()),
        (Kind::Double, Wire::Fixed64(value)) => column.push_float(f64::from_bits(value)),
        (Kind::Float, Wire::Fixed32(value)) => column.push_float(f32::from_bits(value).into()),
        (Kind::Bool, Wire::Varint(value)) => column.push_bool(value != 0),
        (Kind::Enum(index), Wire::Varint(value)) => symbol_into(schema, index, value as i64, column),
        (Kind::Bytes, Wire::Bytes(bytes)) => column.push_bytes(bytes),
        (Kind::String, Wire::Bytes(text)) => match std::str::from_utf8(text) {
            Ok(text) => column.push_text(text.as_bytes()),
            Err(_) => Err("a string that is not UTF-8".to_owned()),
        },
        (Kind::Timestamp, Wire::Bytes(bytes)) => {
            let (mut seconds, mut nanos) = (0, 0);
            for field in fields(bytes)? {
                match field {
                    (1, Wire::Varint(value)) => seconds = value as i64,
                    (2, Wire::Varint(value)) => nanos = value,
                    _ => {}
                }
            }
            match u32::try_from(nanos) {
                Ok(nanos @ 0..1_000_000_000) => column.push_point(seconds, nanos),
                _ => Err("a time with more than a second of nanoseconds".to_owned()),
            }
        }
        (Kind::Message(message), Wire::Bytes(bytes)) => {
            let rows = column.len();
            let Data::Struct(group) = column.data() else {
                return column.misfit("a message");
            };
            message_into(schema, message, bytes, group, rows)?;
            column.filled();
            Ok(())
        }
        (kind, _) => Err(format!(
            "its field is {kind:?} in the schema, and something else in the record"
        )),
    }
}

fn default_into(schema: &Schema, kind: Kind, column: &mut Column) -> Taken {
    match kind {
        Kind::Double | Kind::Float => column.push_float(0.0),
        Kind::Bool => column.push_bool(false),
        // A time in text can't be empty.
        Kind::String if matches!(column.data(), Data::Text(_)) => column.push_text(&[]),
        Kind::String | Kind::Message(_) | Kind::Timestamp => column.push_null(),
        Kind::Bytes => column.push_bytes(&[]),
        Kind::Enum(index) => symbol_into(schema, index, 0, column),
        _ => column.push_whole(0),
    }
}

/// The name of an enum's value; its number where it has none, or where the column holds numbers.
fn symbol_into(schema: &Schema, index: usize, value: i64, column: &mut Column) -> Taken {
    let symbol = schema.enums[index].values.iter().find(|(number, _)| *number == value);
    match (column.data(), symbol) {
        (Data::Text(_), Some((_, symbol))) => column.push_text(symbol.as_bytes()),
        (Data::Text(_), None) => column.push_text(value.to_string().as_bytes()),
        _ => column.push_whole(value),
    }
}
