//! Lines of separated fields, quoted as in RFC 4180.
use arrow::{
    array::{RecordBatch, new_empty_array},
    datatypes::{Field, Schema, SchemaRef},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rechka_log::Batch;

use crate::{
    Bad, Decoded, Decoder, Encoder, FormatError, Result,
    cells::{Cell, Cells},
    column::{Group, Rows, Taken},
};

const FORMAT: &str = "csv";

fn check(field: &Field) -> Result<()> {
    match field.data_type().is_nested() || Cells::new(&new_empty_array(field.data_type())).is_err() {
        false => Ok(()),
        true => Err(FormatError::Unsupported {
            format: FORMAT,
            column: field.name().clone(),
            data_type: field.data_type().clone(),
            instead: "a line has only plain values; use json, or cast it to VARCHAR",
        }),
    }
}

#[derive(Debug)]
pub(crate) struct CsvDecoder {
    delimiter: u8,
    rows: Rows,
    /// For each field of a line, where it goes.
    targets: Vec<Option<usize>>,
    /// Quoted fields, without their quotes.
    scratch: Vec<u8>,
}

impl CsvDecoder {
    pub(crate) fn new(delimiter: u8, declared: &Schema, read: SchemaRef) -> Result<Self> {
        if matches!(delimiter, b'"' | b'\n' | b'\r') || !delimiter.is_ascii() {
            return Err(FormatError::Columns {
                format: FORMAT,
                reason: format!(
                    "can't have {:?} between fields: take a comma, a semicolon, a tab or |",
                    delimiter as char
                ),
            });
        }
        read.fields().iter().try_for_each(|field| check(field))?;
        let fields = declared.fields().iter();
        Ok(Self {
            delimiter,
            targets: fields.map(|field| read.index_of(field.name()).ok()).collect(),
            rows: Rows::new(read, FORMAT)?,
            scratch: Vec::new(),
        })
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, batch: &Batch) -> Result<Decoded> {
        self.rows.reserve(batch.len());
        let mut bad = Vec::new();
        for (number, record) in batch.iter().enumerate() {
            let (delimiter, targets, scratch) = (self.delimiter, &self.targets[..], &mut self.scratch);
            let taken = match std::str::from_utf8(record.value) {
                Ok(_) => self
                    .rows
                    .push(|group, rows| line(record.value, delimiter, targets, scratch, group, rows)),
                Err(_) => Err("not UTF-8".to_owned()),
            };
            if let Err(reason) = taken {
                bad.push(Bad { record: number, reason });
            }
        }
        Ok(Decoded {
            rows: self.rows.finish(),
            bad,
        })
    }
}

/// Puts the fields of a line into their columns.
fn line(
    line: &[u8],
    delimiter: u8,
    targets: &[Option<usize>],
    scratch: &mut Vec<u8>,
    group: &mut Group,
    rows: usize,
) -> Taken {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut rest = Some(line.strip_suffix(b"\r").unwrap_or(line));
    if line.is_empty() {
        return Err("an empty line".to_owned());
    }
    for (number, target) in targets.iter().enumerate() {
        let Some(line) = rest else {
            return Err(format!("{} fields instead of {}", number, targets.len()));
        };
        let quoted = line.first() == Some(&b'"');
        let (field, after) = match quoted {
            true => unquote(line, delimiter, scratch)
                .ok_or_else(|| format!("field {} has a quote out of place", number + 1))?,
            false => match line.iter().position(|&byte| byte == delimiter) {
                Some(end) => (&line[..end], Some(&line[end + 1..])),
                None => (line, None),
            },
        };
        rest = after;
        if let Some(target) = *target
            && (quoted || !field.is_empty())
        {
            let taken = group.columns[target].push_plain(field);
            taken.map_err(|reason| format!("{:?}: {reason}", group.fields[target].name()))?;
        }
    }
    match rest {
        None => group.complete(rows),
        Some(_) => Err(format!("more than {} fields", targets.len())),
    }
}

/// The field that begins with a quote, and what follows the delimiter behind it.
fn unquote<'l, 's>(line: &'l [u8], delimiter: u8, scratch: &'s mut Vec<u8>) -> Option<(&'s [u8], Option<&'l [u8]>)> {
    scratch.clear();
    let mut rest = &line[1..];
    loop {
        let end = rest.iter().position(|&byte| byte == b'"')?;
        scratch.extend_from_slice(&rest[..end]);
        match &rest[end + 1..] {
            [b'"', after @ ..] => {
                scratch.push(b'"');
                rest = after;
            }
            [] => return Some((scratch, None)),
            [next, after @ ..] if *next == delimiter => return Some((scratch, Some(after))),
            _ => return None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct CsvEncoder {
    delimiter: u8,
}

impl CsvEncoder {
    pub(crate) fn new(delimiter: u8, columns: &Schema) -> Result<Self> {
        columns.fields().iter().try_for_each(|field| check(field))?;
        Ok(Self { delimiter })
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = Cells::of(rows, FORMAT)?;
        for row in 0..rows.num_rows() {
            for (number, column) in columns.iter().enumerate() {
                if number > 0 {
                    values.push(self.delimiter);
                }
                self.write(column.get(row), values);
            }
            ends.push(values.len());
        }
        Ok(())
    }
}

impl CsvEncoder {
    fn write(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        match cell {
            Cell::Text(text) => self.write_text(text.as_bytes(), out),
            Cell::Bytes(bytes) => self.write_text(BASE64.encode(bytes).as_bytes(), out),
            Cell::Instant(instant) if instant.in_years_of_four_digits() => instant.write(out),
            // NULL and what has no digits is an empty field; the encoder is not made for lists and structs.
            other => drop(other.write_number(out)),
        }
    }

    fn write_text(&self, text: &[u8], out: &mut Vec<u8>) {
        let plain = |&byte: &u8| byte != self.delimiter && !matches!(byte, b'"' | b'\n' | b'\r');
        if !text.is_empty() && text.iter().all(plain) {
            return out.extend_from_slice(text);
        }
        out.push(b'"');
        for piece in text.split_inclusive(|&byte| byte == b'"') {
            out.extend_from_slice(piece);
            if piece.last() == Some(&b'"') {
                out.push(b'"');
            }
        }
        out.push(b'"');
    }
}
