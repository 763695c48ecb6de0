//! What names mean: streams, tables and views.
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use rechka_formats::Format;

use crate::{Error, nearest::nearest, statement::Target};

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows that are only ever added, in a topic.
    Stream,
    /// Rows by key of which the last counts: a changing table in a compacted topic.
    Table,
    /// The kept result of a query, by key, in a compacted topic.
    View,
}

/// A named relation over a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its columns.
    pub schema: SchemaRef,
    /// Which column says when a row happened, if one does.
    pub event_time: Option<EventTime>,
    /// Columns that are the event time plus so many microseconds, by index: the start of a window, its last moment.
    pub related_times: Vec<(usize, i64)>,
    /// The columns that make the key of a record (tables and views: the primary key), by index.
    pub key: Vec<usize>,
    /// The topic that holds it.
    pub topic: Arc<str>,
    /// How many partitions the topic has.
    pub partitions: u32,
    /// How its records are written.
    pub format: Format,
    /// Columns that come from somewhere else than the record's value, by index.
    pub metadata: Vec<(usize, Metadata)>,
    /// A table that never changes is read from this file, and has no topic. CSV, JSON and Parquet, by the ending.
    pub file: Option<Arc<Path>>,
}

/// Where a column comes from if not from the value of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// The record's key: text or binary.
    Key,
    /// The record's timestamp: a timestamp.
    Timestamp,
    /// The record's offset: `Int64`.
    Offset,
    /// The partition: `Int32`.
    Partition,
    /// The header of this name: text or binary; NULL where it is missing.
    Header(Arc<str>),
}

/// The event time of a stream, and how long to wait for rows that come late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The column, of type timestamp.
    pub column: usize,
    /// The watermark is the greatest event time seen less this.
    pub delay: Duration,
    /// After so long without records a partition that is read to its end holds nobody up.
    pub idle: Option<Duration>,
    /// A row that claims to be further in the future than this goes to the dead letters.
    pub ahead: Duration,
    /// Whether the records announce the watermark, so that nobody may guess it by the delay: what a query writes does.
    pub announced: bool,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Named {
    /// Rows in a topic or a file.
    Relation(Arc<Relation>),
    /// A query that is run wherever the name stands (`CREATE VIEW`).
    Query(Arc<LogicalPlan>),
    /// A sink: it can't be read.
    Sink(Target),
}

/// The names that queries can use. Case does not matter in them.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    named: BTreeMap<String, (Arc<str>, Named)>,
}

impl Catalog {
    /// Declares a name; refused if it is taken.
    pub fn declare(&mut self, name: &str, named: Named) -> Result<(), Error> {
        let key = name.to_lowercase();
        if self.named.contains_key(&key) {
            return Err(Error::Plan(format!(
                "{name} exists already: choose another name, or DROP it before"
            )));
        }
        self.named.insert(key, (name.into(), named));
        Ok(())
    }

    /// Declares a relation under its own name.
    pub fn declare_relation(&mut self, relation: Relation) -> Result<Arc<Relation>, Error> {
        let relation = Arc::new(relation);
        self.declare(&relation.name, Named::Relation(Arc::clone(&relation)))?;
        Ok(relation)
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Named> {
        self.declared(name).map(|(_, named)| named)
    }

    /// How a name was declared, and what it stands for.
    pub(crate) fn declared(&self, name: &str) -> Option<(&str, &Named)> {
        self.named
            .get(&name.to_lowercase())
            .map(|(name, named)| (&**name, named))
    }

    /// Forgets a name, and gives what it stood for.
    pub fn remove(&mut self, name: &str) -> Result<Named, Error> {
        self.named
            .remove(&name.to_lowercase())
            .map(|(_, named)| named)
            .ok_or_else(|| self.unknown(name))
    }

    /// All names as they were declared, with what they stand for, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.named.values().map(|(name, named)| (&**name, named))
    }

    /// The error for a name that stands for nothing, with the one that was probably meant.
    pub fn unknown(&self, name: &str) -> Error {
        let near = nearest(name, self.iter().map(|(name, _)| name));
        Error::Plan(match near {
            Some(near) => format!("there is no {name}; did you mean {near}?"),
            None if self.named.is_empty() => format!("there is no {name}: nothing is declared yet (CREATE STREAM …)"),
            None => format!("there is no {name}; SHOW RELATIONS lists what there is"),
        })
    }
}
