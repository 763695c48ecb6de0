use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, Ident},
    keywords::Keyword,
    parser::IsOptional,
    tokenizer::{Location, Token},
};

use super::reader::Reader;
use crate::{
    Error, Metadata,
    logical::{constant, micros, sql_type},
    nearest::nearest,
};

const WATERMARK: &str = "WATERMARK FOR ts AS ts - INTERVAL '5 seconds'";

/// What stands between the parentheses of `CREATE STREAM` and `CREATE TABLE`.
#[derive(Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    pub(super) metadata: Vec<(usize, Metadata)>,
    /// The column with the event time, and how late rows may be.
    pub(super) watermark: Option<(usize, Duration)>,
    pub(super) primary_key: Vec<usize>,
}

impl Columns {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.expect(&Token::LParen, "(column TYPE, …)")?;
        let mut columns = Self::default();
        let mut watermark = None;
        let mut primary_key = None;
        loop {
            let place = reader.place();
            if reader.next_is("WATERMARK") && reader.parser.peek_nth_token(1).token == Token::make_keyword("FOR") {
                if watermark.replace((place, parse_watermark(reader)?)).is_some() {
                    return Err(Error::syntax(place, "there can be one WATERMARK only"));
                }
            } else if reader.parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                let names = reader
                    .parser
                    .parse_parenthesized_column_list(IsOptional::Mandatory, false);
                let names = names.map_err(|error| Error::from_parser(error, place))?;
                let _ = reader.parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]);
                if primary_key.replace((place, names)).is_some() {
                    return Err(Error::syntax(place, "there can be one PRIMARY KEY only"));
                }
            } else {
                columns.parse_column(reader)?;
            }
            if reader.parser.consume_token(&Token::RParen) {
                break;
            }
            reader.expect(&Token::Comma, "(column TYPE, …)")?;
        }
        if let Some((place, (column, delay))) = watermark {
            columns.watermark = Some((columns.time(place, &column)?, delay));
        }
        if let Some((place, names)) = primary_key {
            for name in names {
                let index = columns.index(place, &name.value)?;
                columns.primary_key.push(index);
            }
        }
        Ok(columns)
    }

    /// The columns of a stream of audio: what a record says by its key, its value, its headers and its timestamp.
    pub(super) fn of_audio() -> Self {
        const TIMES: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
        const HEADERS: [&str; 7] = ["encoding", "rate", "channels", "frame", "language", "task", "control"];
        let mut fields = vec![
            Field::new("session", DataType::Utf8, true),
            Field::new("ts", TIMES, true),
            Field::new("audio", DataType::Binary, true),
        ];
        let mut metadata = vec![(0, Metadata::Key), (1, Metadata::Timestamp)];
        for name in HEADERS {
            metadata.push((fields.len(), Metadata::Header(name.into())));
            fields.push(Field::new(name, DataType::Utf8, true));
        }
        Self {
            fields,
            metadata,
            watermark: Some((1, Duration::from_secs(5))),
            primary_key: vec![0],
        }
    }

    /// Whether these are the [columns of audio](Self::of_audio).
    pub(super) fn are_of_audio(&self) -> bool {
        let audio = Self::of_audio();
        (&self.fields, &self.metadata) == (&audio.fields, &audio.metadata)
    }

    fn parse_column(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let place = reader.place();
        let name = reader
            .parser
            .parse_identifier()
            .map_err(|_| reader.error("a column must follow: name TYPE"))?;
        if self.fields.iter().any(|field| *field.name() == name.value) {
            return Err(Error::syntax(
                place,
                format!("the column {} is there twice", name.value),
            ));
        }
        if reader.next_is("AS") {
            return Err(reader.error("a computed column belongs in a query: CREATE VIEW name AS SELECT *, … FROM …"));
        }
        let type_place = reader.place();
        let kind = reader
            .parser
            .parse_data_type()
            .map_err(|error| Error::from_parser(error, type_place))?;
        let kind = sql_type(&kind).ok_or_else(|| {
            Error::syntax(
                type_place,
                format!("there is no type {kind}: {}", advice(&kind.to_string())),
            )
        })?;
        let mut nullable = true;
        loop {
            let place = reader.place();
            if reader.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                nullable = false;
            } else if reader.parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                self.primary_key.push(self.fields.len());
            } else if reader.take("METADATA") {
                self.metadata
                    .push((self.fields.len(), parse_metadata(reader, place, &name.value, &kind)?));
            } else if !reader.parser.parse_keyword(Keyword::NULL) {
                break;
            }
        }
        self.fields.push(Field::new(name.value, kind, nullable));
        Ok(())
    }

    /// The index of a column.
    pub(super) fn index(&self, place: Location, name: &str) -> Result<usize, Error> {
        let exact = self.fields.iter().position(|field| field.name() == name);
        let found = exact.or_else(|| {
            self.fields
                .iter()
                .position(|field| field.name().eq_ignore_ascii_case(name))
        });
        found.ok_or_else(|| {
            let near = nearest(name, self.fields.iter().map(|field| field.name().as_str()));
            let advice = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            Error::syntax(place, format!("there is no column {name}{advice}"))
        })
    }

    fn time(&self, place: Location, name: &str) -> Result<usize, Error> {
        let index = self.index(place, name)?;
        match self.fields[index].data_type() {
            DataType::Timestamp(..) => Ok(index),
            other => Err(Error::syntax(
                place,
                format!("{name} must be a TIMESTAMP to have a watermark; it is {other}"),
            )),
        }
    }

    /// Columns that come from the record's value.
    pub(super) fn in_value(&self) -> impl Iterator<Item = &Field> {
        let metadata = |index: usize| self.metadata.iter().any(|(column, _)| *column == index);
        self.fields
            .iter()
            .enumerate()
            .filter(move |(index, _)| !metadata(*index))
            .map(|(_, field)| field)
    }

    pub(super) fn schema(&self) -> Schema {
        Schema::new(self.fields.clone())
    }
}

/// `WATERMARK FOR ts AS ts - INTERVAL '…'`: the column and the delay.
fn parse_watermark(reader: &mut Reader<'_>) -> Result<(String, Duration), Error> {
    reader.parser.next_token();
    reader.parser.next_token();
    let usage = |reader: &Reader<'_>| reader.error(format!("a watermark is written {WATERMARK}"));
    let column = reader.parser.parse_identifier().map_err(|_| usage(reader))?;
    if !reader.take("AS") {
        return Err(usage(reader));
    }
    let place = reader.place();
    let end = reader.place();
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(Ident { value, .. }) if value.eq_ignore_ascii_case(&column.value));
    let delay = match reader
        .parser
        .parse_expr()
        .map_err(|error| Error::from_parser(error, end))?
    {
        expr if is_column(&expr) => 0,
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Minus,
            right,
        } if is_column(&left) => {
            let delay = constant(*right).and_then(|delay| Ok(micros(&delay)?));
            delay.map_err(|error| Error::syntax(place, error.to_string()))?
        }
        _ => return Err(Error::syntax(place, format!("a watermark is written {WATERMARK}"))),
    };
    let delay = u64::try_from(delay).map_err(|_| Error::syntax(place, "the delay of a watermark can't be negative"))?;
    Ok((column.value, Duration::from_micros(delay)))
}

/// After `METADATA`: `[FROM 'key']`; without it the column's name says it.
fn parse_metadata(reader: &mut Reader<'_>, place: Location, column: &str, kind: &DataType) -> Result<Metadata, Error> {
    let from = match reader.parser.parse_keyword(Keyword::FROM) {
        true => reader
            .parser
            .parse_literal_string()
            .map_err(|_| reader.error("write METADATA FROM 'key'"))?,
        false => column.to_owned(),
    };
    let (metadata, fits, expected) = match from.to_ascii_lowercase().as_str() {
        "key" => (
            Metadata::Key,
            matches!(kind, DataType::Utf8 | DataType::Binary),
            "TEXT or BYTES",
        ),
        "timestamp" => (
            Metadata::Timestamp,
            matches!(kind, DataType::Timestamp(..)),
            "TIMESTAMP",
        ),
        "offset" => (Metadata::Offset, *kind == DataType::Int64, "BIGINT"),
        "partition" => (Metadata::Partition, *kind == DataType::Int32, "INT"),
        other => match from.split_once(':') {
            Some(("header", name)) if !name.is_empty() => (
                Metadata::Header(name.into()),
                matches!(kind, DataType::Utf8 | DataType::Binary),
                "TEXT or BYTES",
            ),
            _ => {
                let known = ["key", "timestamp", "offset", "partition", "header:NAME"];
                let advice = match nearest(other, known) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("there are '{}'", known.join("', '")),
                };
                return Err(Error::syntax(
                    place,
                    format!("a record has no metadata '{from}'; {advice}"),
                ));
            }
        },
    };
    match fits {
        true => Ok(metadata),
        false => Err(Error::syntax(
            place,
            format!("the column {column} must be {expected} to hold the record's {from}"),
        )),
    }
}

fn advice(kind: &str) -> String {
    let known = [
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INT",
        "BIGINT",
        "REAL",
        "DOUBLE",
        "DECIMAL(p, s)",
        "TEXT",
        "BYTES",
        "DATE",
        "TIME",
        "TIMESTAMP(3)",
        "TIMESTAMPTZ",
        "STRUCT<name TYPE, …>",
        "ARRAY<TYPE>",
    ];
    match nearest(kind, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", known.join(", ")),
    }
}
