use std::{path::Path, sync::Arc, time::Duration};

use datafusion::sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Location, Token},
};
use rechka_formats::Format;

use super::{
    Declare, Delivery, Derive, DeriveOptions, FileFormat, Sink, Statement, Target,
    columns::Columns,
    format::{check, format, format_of_result},
    options::Options,
    reader::Reader,
};
use crate::{Error, EventTime, Kind, Query, Relation, plan::Emit};

/// How far ahead of the wall clock an event time may be, if nothing is said.
const MAX_AHEAD: Duration = Duration::from_secs(3600);
const MAX_PARTITIONS: u32 = 1024;
/// Why `retention` is refused for what is kept by key.
pub(crate) const KEPT_BY_KEY: &str =
    "the last row of every key is kept for as long as nothing deletes it: retention is for streams, leave it away here";

impl DeriveOptions {
    /// What counts where nothing is said.
    pub(crate) fn new(name: &Arc<str>) -> Self {
        Self {
            topic: Arc::clone(name),
            format: Format::Json,
            partitions: None,
            key: Vec::new(),
            output_mode: None,
            delivery: None,
            retention: None,
            state_retention: None,
            idle_timeout: None,
            max_ahead: MAX_AHEAD,
        }
    }
}

impl Reader<'_> {
    /// What comes after `CREATE`.
    pub(super) fn create(mut self) -> Result<Statement, Error> {
        if self.take("STREAM") {
            let (name, if_not_exists) = self.new_name()?;
            if self.next_token_is(&Token::LParen) {
                return self.declare(name, Kind::Stream, if_not_exists);
            }
            let options = Options::parse(&mut self.parser)?;
            return match self.next_token_is(&Token::EOF) && options.are_given() {
                true => self.declare_audio(name, options, if_not_exists),
                false => self.derive(name, false, options, if_not_exists),
            };
        }
        if self.take("TABLE") {
            let (name, if_not_exists) = self.new_name()?;
            if !self.next_token_is(&Token::LParen) {
                let message = "CREATE TABLE name (columns…) declares a table; write CREATE MATERIALIZED VIEW name AS SELECT … \
                               to make one from a query";
                return Err(self.error(message));
            }
            return self.declare(name, Kind::Table, if_not_exists);
        }
        if self.parser.parse_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW]) {
            let (name, if_not_exists) = self.new_name()?;
            let options = Options::parse(&mut self.parser)?;
            return self.derive(name, true, options, if_not_exists);
        }
        self.take("TEMPORARY");
        if self.take("VIEW") {
            let name = self.name()?;
            return Ok(Statement::View {
                name,
                query: self.query_after_as()?,
            });
        }
        if self.take("SINK") {
            return self.sink();
        }
        Err(self.unexpected(
            "CREATE goes on",
            &["STREAM", "TABLE", "MATERIALIZED VIEW", "VIEW", "SINK"],
        ))
    }

    fn new_name(&mut self) -> Result<(Arc<str>, bool), Error> {
        let if_not_exists = self
            .parser
            .parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        Ok((self.name()?, if_not_exists))
    }

    fn query_after_as(&mut self) -> Result<Query, Error> {
        match self.take("AS") {
            true => self.query(),
            false => Err(self.error(format!("AS SELECT … must follow, not {}", self.found()))),
        }
    }

    fn declare(mut self, name: Arc<str>, kind: Kind, if_not_exists: bool) -> Result<Statement, Error> {
        let place = self.place();
        let columns = Columns::parse(&mut self)?;
        let options = Options::parse(&mut self.parser)?;
        self.end()?;
        self.declared(place, name, kind, Some(columns), options, if_not_exists)
    }

    /// A stream without columns of its own: those of audio.
    fn declare_audio(self, name: Arc<str>, options: Options, if_not_exists: bool) -> Result<Statement, Error> {
        let place = self.place();
        self.declared(place, name, Kind::Stream, None, options, if_not_exists)
    }

    fn declared(
        self,
        place: Location,
        name: Arc<str>,
        kind: Kind,
        columns: Option<Columns>,
        mut options: Options,
        if_not_exists: bool,
    ) -> Result<Statement, Error> {
        let retention = options.duration("retention")?;
        if kind == Kind::Table && retention.is_some() {
            return Err(Error::syntax(place, KEPT_BY_KEY));
        }
        let idle = options.duration("idle_timeout")?;
        let ahead = options.duration("max_ahead")?.unwrap_or(MAX_AHEAD);
        let file: Option<Arc<Path>> = match kind {
            Kind::Table => options
                .text("path")?
                .map(|(path, at)| file_path(&path, at))
                .transpose()?,
            Kind::Stream | Kind::View => None,
        };
        let topic = options
            .text("topic")?
            .map(|(topic, at)| topic_name(&topic, at))
            .transpose()?;
        let topic = topic.unwrap_or_else(|| Arc::clone(&name));
        let wanted = options.count("partitions", 1, MAX_PARTITIONS)?;
        let partitions = self.outside.partitions(&topic).or(wanted).unwrap_or(1);
        let format = format(&mut options, file.as_deref(), &topic, self.outside)?;
        let columns = columns_of(columns, kind, &format, place)?;
        let key = options.text("key")?;
        let key = match &key {
            Some((_, at)) if !columns.primary_key.is_empty() => {
                return Err(Error::syntax(
                    *at,
                    "the PRIMARY KEY is the key already: leave the option away",
                ));
            }
            Some((names, at)) => names
                .split(',')
                .map(|name| columns.index(*at, name.trim()))
                .collect::<Result<_, _>>()?,
            None => columns.primary_key.clone(),
        };
        options.finish(if kind == Kind::Table { "a table" } else { "a stream" })?;
        if file.is_none() {
            check(&format, &columns, place)?;
        }
        if kind == Kind::Table && file.is_none() && key.is_empty() {
            let message =
                "a table needs a key, of which the last row counts: add PRIMARY KEY (column), or CREATE STREAM";
            return Err(Error::syntax(place, message));
        }
        let relation = Relation {
            topic,
            name,
            kind,
            schema: Arc::new(columns.schema()),
            event_time: columns.watermark.map(|(column, delay)| EventTime {
                column,
                delay,
                idle,
                ahead,
                announced: false,
            }),
            key,
            partitions,
            format,
            related_times: vec![],
            metadata: columns.metadata,
            file,
        };
        Ok(Statement::Declare(Declare {
            relation,
            retention,
            if_not_exists,
        }))
    }

    fn derive(
        mut self,
        name: Arc<str>,
        materialised: bool,
        mut options: Options,
        if_not_exists: bool,
    ) -> Result<Statement, Error> {
        let place = self.place();
        let topic = options
            .text("topic")?
            .map(|(topic, at)| topic_name(&topic, at))
            .transpose()?;
        let topic = topic.unwrap_or_else(|| Arc::clone(&name));
        let options_of = DeriveOptions {
            format: format_of_result(&mut options, &topic, self.outside)?,
            topic,
            partitions: options.count("partitions", 1, MAX_PARTITIONS)?,
            key: key_names(&mut options)?,
            output_mode: options.choice(
                "output_mode",
                &[
                    ("append", Emit::Append),
                    ("update", Emit::Update),
                    ("complete", Emit::Complete),
                ],
            )?,
            delivery: delivery(&mut options)?,
            retention: options.duration("retention")?,
            state_retention: options.duration("state_retention")?,
            idle_timeout: options.duration("idle_timeout")?,
            max_ahead: options.duration("max_ahead")?.unwrap_or(MAX_AHEAD),
        };
        if materialised && options_of.retention.is_some() {
            return Err(Error::syntax(place, KEPT_BY_KEY));
        }
        options.finish(if materialised {
            "a materialized view"
        } else {
            "a stream"
        })?;
        let query = self.query_after_as()?;
        Ok(Statement::Derive(Derive {
            name,
            materialised,
            query,
            options: options_of,
            if_not_exists,
        }))
    }

    fn sink(mut self) -> Result<Statement, Error> {
        const USAGE: &str = "CREATE SINK name FROM relation WITH (to = 'topic:NAME')";
        let name = self.name()?;
        if !self.take("FROM") {
            return Err(self.error(format!("FROM must follow, not {}: write {USAGE}", self.found())));
        }
        let query = self.all_of()?;
        let place = self.place();
        let mut options = Options::parse(&mut self.parser)?;
        self.end()?;
        let delivery = delivery(&mut options)?;
        let Some((to, at)) = options.text("to")? else {
            return Err(Error::syntax(place, format!("where to is missing: write {USAGE}")));
        };
        let to = match to.split_once(':') {
            Some(("topic", topic)) => Target::Topic {
                topic: topic_name(topic, at)?,
                format: format_of_result(&mut options, topic, self.outside)?,
                key: key_names(&mut options)?,
            },
            Some(("file", directory)) if !directory.is_empty() => Target::Files {
                directory: Path::new(directory).into(),
                format: options
                    .choice(
                        "format",
                        &[
                            ("parquet", FileFormat::Parquet),
                            ("json", FileFormat::Json),
                            ("csv", FileFormat::Csv),
                        ],
                    )?
                    .unwrap_or(FileFormat::Parquet),
            },
            _ => {
                return Err(Error::syntax(
                    at,
                    format!("to = '{to}' is nowhere: write to = 'topic:NAME' or 'file:DIRECTORY'"),
                ));
            }
        };
        options.finish("a sink")?;
        Ok(Statement::Sink(Sink {
            name,
            query,
            to,
            delivery,
        }))
    }
}

/// The columns of what is declared: as they are written, except for audio, which has its own.
fn columns_of(written: Option<Columns>, kind: Kind, format: &Format, place: Location) -> Result<Columns, Error> {
    let is_audio = matches!(format, Format::Audio(_));
    match written {
        _ if is_audio && kind == Kind::Table => Err(Error::syntax(place, "audio is no table: CREATE STREAM")),
        Some(columns) if !is_audio || columns.are_of_audio() => Ok(columns),
        Some(_) => Err(Error::syntax(
            place,
            "the columns of audio are always the same: leave them away, and DESCRIBE shows them",
        )),
        None if is_audio => Ok(Columns::of_audio()),
        None => Err(Error::syntax(
            place,
            "columns are missing: write CREATE STREAM name (column TYPE, …) WITH (…), or CREATE STREAM name WITH (…) AS SELECT …",
        )),
    }
}

fn topic_name(name: &str, at: Location) -> Result<Arc<str>, Error> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    match !name.is_empty() && name.len() <= 249 && name.chars().all(legal) {
        true => Ok(name.into()),
        false => Err(Error::syntax(
            at,
            "the name of a topic is up to 249 letters, digits, '.', '_' and '-'",
        )),
    }
}

fn key_names(options: &mut Options) -> Result<Vec<Arc<str>>, Error> {
    let names = options.text("key")?;
    Ok(names.map_or(vec![], |(names, _)| {
        names.split(',').map(|name| name.trim().into()).collect()
    }))
}

fn delivery(options: &mut Options) -> Result<Option<Delivery>, Error> {
    let levels = [
        ("exactly_once", Delivery::ExactlyOnce),
        ("at_least_once", Delivery::AtLeastOnce),
        ("at_most_once", Delivery::AtMostOnce),
    ];
    options.choice("delivery", &levels)
}

fn file_path(path: &str, at: Location) -> Result<Arc<Path>, Error> {
    let path = Path::new(path);
    let ending = path
        .extension()
        .and_then(|ending| Some(ending.to_str()?.to_ascii_lowercase()));
    match ending.as_deref() {
        Some("csv" | "json" | "ndjson" | "jsonl" | "parquet") => Ok(path.into()),
        _ => Err(Error::syntax(
            at,
            "the path of a table must end with .csv, .json or .parquet",
        )),
    }
}
