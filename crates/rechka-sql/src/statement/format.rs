use std::{path::Path, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::tokenizer::Location;
use rechka_formats::{Encoding, Format, Pcm, Registry, Schemas};

use super::{columns::Columns, options::Options};
use crate::Error;

/// What a text refers to outside of itself. Who reads the text does the input and output for it.
pub trait Outside {
    /// The text of a schema file (`schema = 'bid.avsc'`); else why there is none.
    fn schema(&self, path: &Path) -> Result<String, String>;
    /// The schema registry at an address (`registry = 'http://…'`); else why there is none.
    fn registry(&self, address: &str) -> Result<Arc<dyn Registry>, String>;
    /// How many partitions a topic has, if it is there.
    fn partitions(&self, topic: &str) -> Option<u32>;
}

/// There is nothing outside: schemas can't be named.
pub(super) struct Nothing;

impl Outside for Nothing {
    fn schema(&self, _: &Path) -> Result<String, String> {
        Err("schema files can't be read here".to_owned())
    }

    fn registry(&self, _: &str) -> Result<Arc<dyn Registry>, String> {
        Err("a schema registry can't be reached from here".to_owned())
    }

    fn partitions(&self, _: &str) -> Option<u32> {
        None
    }
}

/// Sample frames per second.
const MIN_RATE: u32 = 1_000;
const MAX_RATE: u32 = 384_000;
const MAX_CHANNELS: u32 = 32;

#[derive(Clone, Copy)]
enum Name {
    Json,
    Csv,
    Avro,
    Protobuf,
    Raw,
    Arrow,
    Audio,
    Pcm(Encoding),
}

/// The format of records, with the options that belong to it. That of a file is said by its ending.
pub(super) fn format(
    options: &mut Options,
    file: Option<&Path>,
    topic: &str,
    outside: &dyn Outside,
) -> Result<Format, Error> {
    let place = options.place();
    let mut names = vec![
        ("json", Name::Json),
        ("csv", Name::Csv),
        ("avro", Name::Avro),
        ("protobuf", Name::Protobuf),
        ("raw", Name::Raw),
        ("arrow", Name::Arrow),
        ("audio", Name::Audio),
    ];
    names.extend(Encoding::ALL.map(|(name, encoding)| (name, Name::Pcm(encoding))));
    let is_csv = file.is_some_and(|path| {
        path.extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
    });
    let name = options
        .choice("format", &names)?
        .unwrap_or(if is_csv { Name::Csv } else { Name::Json });
    Ok(match name {
        Name::Json => Format::Json,
        Name::Csv => Format::Csv {
            delimiter: delimiter(options)?,
        },
        Name::Avro => Format::Avro(schemas(options, place, "avro", topic, outside)?),
        Name::Protobuf => Format::Protobuf {
            schemas: schemas(options, place, "protobuf", topic, outside)?,
            message: options.text("message")?.map(|(name, _)| name.into()),
        },
        Name::Raw => Format::Raw,
        Name::Arrow => Format::Arrow,
        Name::Audio => Format::Audio(None),
        Name::Pcm(encoding) => {
            let channels = options.count("channels", 1, MAX_CHANNELS)?.unwrap_or(1);
            let Some(rate) = options.count("rate", MIN_RATE, MAX_RATE)? else {
                let message =
                    format!("bare sound does not say how fast it is: add rate = 16000 to format = '{encoding}'");
                return Err(Error::syntax(place, message));
            };
            Format::Audio(Some(Pcm {
                encoding,
                rate,
                channels: channels as u16,
            }))
        }
    })
}

/// The format of records that are written.
pub(super) fn format_of_result(options: &mut Options, topic: &str, outside: &dyn Outside) -> Result<Format, Error> {
    let place = options.place();
    match format(options, None, topic, outside)? {
        Format::Audio(_) => Err(Error::syntax(
            place,
            "a query makes no sound: choose another format for its result, such as 'json', or 'raw' for a column of bytes",
        )),
        format => Ok(format),
    }
}

fn schemas(
    options: &mut Options,
    place: Location,
    format: &str,
    topic: &str,
    outside: &dyn Outside,
) -> Result<Schemas, Error> {
    let subject = options.text("subject")?;
    match (options.text("schema")?, options.text("registry")?) {
        (Some((path, at)), None) => {
            let text = outside.schema(Path::new(&path));
            Ok(Schemas::Local(
                text.map_err(|reason| Error::syntax(at, format!("{path}: {reason}")))?
                    .into(),
            ))
        }
        (None, Some((address, at))) => Ok(Schemas::Registry {
            registry: outside
                .registry(&address)
                .map_err(|reason| Error::syntax(at, format!("{address}: {reason}")))?,
            subject: subject
                .map_or_else(|| format!("{topic}-value"), |(subject, _)| subject)
                .into(),
        }),
        (Some(_), Some((_, at))) => Err(Error::syntax(at, "schema and registry exclude each other")),
        (None, None) => {
            let message = format!("format {format} needs schema = 'PATH' or registry = 'http://HOST:PORT'");
            Err(Error::syntax(place, message))
        }
    }
}

fn delimiter(options: &mut Options) -> Result<u8, Error> {
    match options.text("delimiter")? {
        None => Ok(b','),
        Some((text, at)) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
            _ if text == "\\t" => Ok(b'\t'),
            _ => Err(Error::syntax(
                at,
                "delimiter must be one ASCII character, e.g. ';' or '\\t'",
            )),
        },
    }
}

/// Whether the format has a place for each column. A registry is not asked for that.
pub(super) fn check(format: &Format, columns: &Columns, place: Location) -> Result<(), Error> {
    let kept_elsewhere = |schemas: &Schemas| matches!(schemas, Schemas::Registry { .. });
    match format {
        Format::Avro(schemas) | Format::Protobuf { schemas, .. } if kept_elsewhere(schemas) => Ok(()),
        _ => {
            let schema = Schema::new(columns.in_value().cloned().collect::<Vec<_>>());
            let decoder = format.decoder(&schema, Arc::new(schema.clone()));
            decoder
                .map(|_| ())
                .map_err(|error| Error::syntax(place, error.to_string()))
        }
    }
}
