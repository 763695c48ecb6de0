//! What names mean: streams, tables and views.
use std::{sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use rechka_formats::Format;

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
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its columns.
    pub schema: SchemaRef,
    /// Which column says when a row happened, if one does.
    pub event_time: Option<EventTime>,
    /// The columns that make the key of a record (tables and views: the primary key), by index.
    pub key: Vec<usize>,
    /// The topic that holds it.
    pub topic: Arc<str>,
    /// How many partitions the topic has.
    pub partitions: u32,
    /// How its records are written.
    pub format: Format,
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
}
