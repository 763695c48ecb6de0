//! Statements of a pipeline.
mod columns;
mod create;
mod format;
mod options;
mod reader;
mod show;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use rechka_formats::Format;

pub(crate) use create::KEPT_BY_KEY;
pub use format::Outside;
pub use show::{describe, show};

use crate::{Error, Query, Relation, plan::Emit, text::tokens};

/// One statement, read and checked as far as that needs no names.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `CREATE STREAM | TABLE name (columns…) WITH (…)`: says what a topic or a file holds.
    Declare(Declare),
    /// `CREATE STREAM | MATERIALIZED VIEW name WITH (…) AS query`: runs for ever.
    Derive(Derive),
    /// `CREATE VIEW name AS query`: a name for a query, which is run wherever the name stands.
    View {
        /// Its name.
        name: Arc<str>,
        /// What it stands for.
        query: Query,
    },
    /// `CREATE SINK name FROM relation WITH (to = …)`: runs for ever.
    Sink(Sink),
    /// `DROP STREAM | TABLE | VIEW | MATERIALIZED VIEW | SINK name`.
    Drop {
        /// What it must be.
        object: Object,
        /// Its name.
        name: Arc<str>,
        /// Whether it may be missing.
        if_exists: bool,
    },
    /// `SHOW STREAMS | TABLES | VIEWS | SINKS | RELATIONS`; the last means all (`None`).
    Show(Option<Object>),
    /// `DESCRIBE name`.
    Describe(Arc<str>),
    /// `EXPLAIN statement`.
    Explain(Box<Statement>),
    /// `SELECT …`.
    Query(Query),
}

/// A kind of thing that can be created and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A stream.
    Stream,
    /// A table.
    Table,
    /// A view, materialised or not.
    View,
    /// A sink.
    Sink,
}

/// Says what a topic or a file holds.
#[derive(Clone, Debug)]
pub struct Declare {
    /// What is declared.
    pub relation: Relation,
    /// How long the topic keeps its records, if it is made for this.
    pub retention: Option<Duration>,
    /// Whether it is no error if the name is taken.
    pub if_not_exists: bool,
}

/// A query whose result is a relation.
#[derive(Clone, Debug)]
pub struct Derive {
    /// Name of the result.
    pub name: Arc<str>,
    /// Whether the result is a view: rows by key, of which the last counts; otherwise a stream.
    pub materialised: bool,
    /// What makes it.
    pub query: Query,
    /// Its options.
    pub options: DeriveOptions,
    /// Whether it is no error if the name is taken.
    pub if_not_exists: bool,
}

/// How a derived relation is made and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeriveOptions {
    /// The topic of the result.
    pub topic: Arc<str>,
    /// How records are written.
    pub format: Format,
    /// Partitions of the topic; as many as its input has, if not given.
    pub partitions: Option<u32>,
    /// The columns that make the key of a record; the planner's choice, if empty.
    pub key: Vec<Arc<str>>,
    /// When results are written; the planner's choice, if not given.
    pub output_mode: Option<Emit>,
    /// What a crash may do to the result; the runner's choice, if not given.
    pub delivery: Option<Delivery>,
    /// How long the topic keeps its records.
    pub retention: Option<Duration>,
    /// How long state that no watermark ends is kept after it was last used.
    pub state_retention: Option<Duration>,
    /// See [`EventTime::idle`](crate::EventTime::idle).
    pub idle_timeout: Option<Duration>,
    /// See [`EventTime::ahead`](crate::EventTime::ahead).
    pub max_ahead: Duration,
}

/// Brings the rows of a query somewhere.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name.
    pub name: Arc<str>,
    /// What is brought.
    pub query: Query,
    /// Where to.
    pub to: Target,
    /// What a crash may do to it; the runner's choice, if not given.
    pub delivery: Option<Delivery>,
}

/// Where a sink brings rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `to = 'topic:NAME'`.
    Topic {
        /// Its name.
        topic: Arc<str>,
        /// How records are written.
        format: Format,
        /// The columns that make the key of a record.
        key: Vec<Arc<str>>,
    },
    /// `to = 'file:DIRECTORY'`: files of many rows each.
    Files {
        /// Where they are made.
        directory: Arc<Path>,
        /// What they are.
        format: FileFormat,
    },
}

/// What a file of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    Json,
    /// Separated fields, with a header.
    Csv,
}

/// What a crash may do to the output of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing.
    ExactlyOnce,
    /// Repeat some of it.
    AtLeastOnce,
    /// Lose some of it.
    AtMostOnce,
}

impl Statement {
    /// Reads the statements of a text, which are separated by semicolons. It can't name schemas: see [`parse_with`](Self::parse_with).
    pub fn parse(text: &str) -> Result<Vec<Self>, Error> {
        Self::parse_with(text, &format::Nothing)
    }

    /// Reads the statements of a text that may name schema files and registries.
    pub fn parse_with(text: &str, outside: &dyn Outside) -> Result<Vec<Self>, Error> {
        let statements = tokens::statements(text)?.into_iter();
        statements
            .map(|tokens| reader::Reader::new(tokens, outside).statement())
            .collect()
    }
}
