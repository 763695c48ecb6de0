use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rechka_log::Batch;

use super::{
    datum::Cursor,
    schema::{Meaning, Type, parse},
};
use crate::{
    Bad, Decoded, Decoder, FormatError, Result, Schemas,
    column::{Column, Data, Group, Rows, Taken},
    registry::{Known, NOT_FRAMED, Obstacle, unframe},
};

#[derive(Debug)]
pub(crate) struct AvroDecoder {
    rows: Rows,
    writer: Writer,
}

/// By which schemas records were written.
#[derive(Debug)]
enum Writer {
    One(Arc<Type>),
    Numbered(Known<Type>),
}

impl AvroDecoder {
    pub(crate) fn new(schemas: &Schemas, read: SchemaRef) -> Result<Self> {
        Ok(Self {
            rows: Rows::new(read, "avro")?,
            writer: match schemas {
                Schemas::Local(schema) => {
                    Writer::One(parse(schema).map_err(|reason| FormatError::Columns { format: "avro", reason })?)
                }
                Schemas::Registry { registry, .. } => Writer::Numbered(Known::new(registry.clone())),
            },
        })
    }
}

impl Writer {
    /// The schema of a record, and its bytes without frame.
    fn split<'a>(&mut self, record: &'a [u8]) -> std::result::Result<(Arc<Type>, &'a [u8]), Obstacle> {
        match self {
            Self::One(schema) => Ok((schema.clone(), record)),
            Self::Numbered(known) => {
                let (id, value) = unframe(record).ok_or_else(|| NOT_FRAMED.to_owned())?;
                Ok((known.get(id, parse)?, value))
            }
        }
    }
}

impl Decoder for AvroDecoder {
    fn decode(&mut self, batch: &Batch) -> Result<Decoded> {
        self.rows.reserve(batch.len());
        if let Writer::Numbered(known) = &mut self.writer {
            known.begin();
        }
        let mut bad = Vec::new();
        for (number, record) in batch.iter().enumerate() {
            let taken = self.writer.split(record.value).and_then(|(schema, value)| {
                let taken = self.rows.push(|group, rows| {
                    let mut cursor = Cursor(value);
                    match &*schema {
                        Type::Record(fields) => record_into(&mut cursor, fields, group, rows)?,
                        _ => return Err("the schema is no record".to_owned()),
                    }
                    match cursor.0 {
                        [] => Ok(()),
                        more => Err(format!(
                            "{} bytes too many: was it written with another schema?",
                            more.len()
                        )),
                    }
                });
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

fn record_into(cursor: &mut Cursor<'_>, fields: &[(String, Arc<Type>)], group: &mut Group, rows: usize) -> Taken {
    for (place, (name, schema)) in fields.iter().enumerate() {
        match group.position(place, name.as_bytes()) {
            Some(position) => {
                let column = &mut group.columns[position];
                // Two names may differ only in case: the last counts.
                column.truncate(rows);
                value_into(cursor, schema, column).map_err(|reason| format!("{name:?}: {reason}"))?;
            }
            None => skip(cursor, schema)?,
        }
    }
    group.complete(rows)
}

fn value_into(cursor: &mut Cursor<'_>, schema: &Type, column: &mut Column) -> Taken {
    match schema {
        Type::Null => column.push_null(),
        Type::Boolean => column.push_bool(boolean(cursor)?),
        Type::Long(meaning) => {
            let value = cursor.long()?;
            match *meaning {
                Meaning::Number => column.push_whole(value),
                Meaning::Instant { per_second } => column.push_instant(value, per_second),
                Meaning::Date => column.push_calendar(value, 0),
                Meaning::Time { per_second } => column.push_calendar(value, per_second),
            }
        }
        Type::Float => column.push_float(f32::from_le_bytes(cursor.array()?).into()),
        Type::Double => column.push_float(f64::from_le_bytes(cursor.array()?)),
        Type::Bytes { fixed, decimal } => {
            let bytes = match fixed {
                Some(size) => cursor.bytes(*size)?,
                None => cursor.sized()?,
            };
            match decimal {
                Some(scale) => column.push_decimal(
                    big_endian(bytes).ok_or("a decimal number of more than 128 bits")?,
                    *scale,
                ),
                None => column.push_bytes(bytes),
            }
        }
        Type::String => match std::str::from_utf8(cursor.sized()?) {
            Ok(text) => column.push_text(text.as_bytes()),
            Err(_) => Err("a string that is not UTF-8".to_owned()),
        },
        Type::Enum(symbols) => column.push_text(symbol(cursor, symbols)?.as_bytes()),
        Type::Union(branches) => {
            let branch = branch(cursor, branches)?;
            value_into(cursor, branch, column)
        }
        Type::Record(fields) => {
            let rows = column.len();
            let Data::Struct(group) = column.data() else {
                return column.misfit("a record");
            };
            record_into(cursor, fields, group, rows)?;
            column.filled();
            Ok(())
        }
        Type::Array(item) => {
            let Data::List { ends, element } = column.data() else {
                return column.misfit("an array");
            };
            loop {
                let count = cursor.block()?;
                for _ in 0..count {
                    value_into(cursor, item, element)?;
                }
                if count == 0 {
                    break;
                }
            }
            ends.push(element.len() as i32);
            column.filled();
            Ok(())
        }
        Type::Map(_) => column.misfit("a map"),
    }
}

/// Passes a value.
fn skip(cursor: &mut Cursor<'_>, schema: &Type) -> Taken {
    match schema {
        Type::Null => Ok(()),
        Type::Boolean => boolean(cursor).map(drop),
        Type::Long(_) => cursor.long().map(drop),
        Type::Float => cursor.bytes(4).map(drop),
        Type::Double => cursor.bytes(8).map(drop),
        Type::Bytes { fixed: Some(size), .. } => cursor.bytes(*size).map(drop),
        Type::Bytes { fixed: None, .. } | Type::String => cursor.sized().map(drop),
        Type::Enum(symbols) => symbol(cursor, symbols).map(drop),
        Type::Union(branches) => {
            let branch = branch(cursor, branches)?;
            skip(cursor, branch)
        }
        Type::Record(fields) => fields.iter().try_for_each(|(_, schema)| skip(cursor, schema)),
        Type::Array(item) | Type::Map(item) => loop {
            let count = cursor.block()?;
            for _ in 0..count {
                if let Type::Map(_) = schema {
                    cursor.sized()?;
                }
                skip(cursor, item)?;
            }
            if count == 0 {
                return Ok(());
            }
        },
    }
}

fn boolean(cursor: &mut Cursor<'_>) -> std::result::Result<bool, String> {
    match cursor.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(format!("a truth value of {other}")),
    }
}

fn symbol<'s>(cursor: &mut Cursor<'_>, symbols: &'s [String]) -> std::result::Result<&'s str, String> {
    let index = cursor.long()?;
    let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
    Ok(symbol.ok_or_else(|| format!("an enum has no symbol {index}"))?)
}

fn branch<'s>(cursor: &mut Cursor<'_>, branches: &'s [Arc<Type>]) -> std::result::Result<&'s Type, String> {
    let index = cursor.long()?;
    let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
    Ok(branch.ok_or_else(|| format!("a union has no branch {index}"))?)
}

/// A number in two's complement.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let filler = if negative { 0xff } else { 0 };
    let (more, low) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut number = [filler; 16];
    number[16 - low.len()..].copy_from_slice(low);
    let value = i128::from_be_bytes(number);
    (more.iter().all(|&byte| byte == filler) && (value < 0) == negative).then_some(value)
}
