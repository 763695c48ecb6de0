//! What a query over streams does, as data: stages of operators between topics. Made by the planner, run by the engine.
//!
//! ```text
//!   topic ─▶ Stage { inputs ─▶ nodes ─▶ output } ─▶ exchange topic ─▶ Stage … ─▶ topic of the result
//! ```
//!
//! A *stage* is the piece of a query between two exchanges; the engine runs it once for each partition of its inputs, as a
//! *task*. Tasks share nothing. Expressions are DataFusion's, bound to the columns of the node's input.
//!
//! **Time** is counted in microseconds since 1970 wherever a plain `i64` stands for it (watermarks, bounds, panes).
mod aggregate;
mod join;
mod top;
mod transcribe;
mod window;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

pub use aggregate::{Aggregate, AggregateColumn, Emit, Groups, Phase};
pub use join::{AsOf, DELETED, Join, Lookup, TimeBound};
pub use top::{Closing, TopN};
pub use transcribe::{Precision, SpeechTask, Transcribe};
pub use window::Window;

use crate::{Relation, catalog::EventTime};

/// An expression over the columns of a batch.
pub type Expr = Arc<dyn PhysicalExpr>;

/// A query that runs for ever: its stages in the order of the flow. The last writes the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Name of the relation it makes; consumer groups and internal topics are named after it.
    pub name: Arc<str>,
    /// What it makes.
    pub result: Relation,
    /// Its stages, at least one.
    pub stages: Vec<Stage>,
}

impl Query {
    /// How it recognises speech, if that is what it does.
    pub fn transcribes(&self) -> Option<&Transcribe> {
        self.stages.iter().find_map(Stage::transcribes)
    }

    /// The same, to be changed.
    pub fn transcribes_mut(&mut self) -> Option<&mut Transcribe> {
        let mut nodes = self.stages.iter_mut().flat_map(|stage| &mut stage.nodes);
        nodes.find_map(|node| match &mut node.operation {
            Operation::Transcribe(transcribe) => Some(transcribe),
            _ => None,
        })
    }
}

/// The piece of a query between two exchanges.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What it reads. All inputs have the same number of partitions, except those read whole by every task.
    pub inputs: Vec<Input>,
    /// Its operators; each reads inputs and earlier nodes. The last node's rows go to the output.
    pub nodes: Vec<Node>,
    /// Where its rows go.
    pub output: Output,
}

impl Stage {
    /// How it recognises speech, if that is what it does.
    pub fn transcribes(&self) -> Option<&Transcribe> {
        match self.nodes.as_slice() {
            [
                Node {
                    operation: Operation::Transcribe(transcribe),
                    ..
                },
            ] => Some(transcribe),
            _ => None,
        }
    }
}

/// A topic that a stage reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// What is read.
    pub source: Source,
    /// The columns that the stage reads, as the decoder gives them.
    pub schema: SchemaRef,
    /// The event time, with the column's index in `schema`.
    pub event_time: Option<EventTime>,
}

/// What stands behind an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A declared stream, each partition read by one task.
    Stream(Arc<Relation>),
    /// A table, read whole by every task before the streams, and kept up to date.
    Table(Arc<Relation>),
    /// The exchange topic written by the stage of this number. Its records are Arrow; watermarks come as records.
    Exchange(usize),
}

/// From where a node takes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Input of the stage.
    Input(usize),
    /// An earlier node.
    Node(usize),
}

/// An operator in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it does.
    pub operation: Operation,
    /// From where its rows come: one, except for joins (left, right), lookups (stream, table) and unions (any number).
    pub from: Vec<Origin>,
    /// The columns it makes. All are nullable: what an outer join or a filter made of them is not tracked.
    pub schema: SchemaRef,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Keeps the rows for which `filter` is true, and computes `columns` (one for each field of the node's schema).
    Map {
        /// The condition, if there is one.
        filter: Option<Expr>,
        /// The columns.
        columns: Vec<Expr>,
    },
    /// A row for each window that a row falls in: the input's columns, then `window_start`, `window_end`, `window_time` in the type of the time column. Never sessions.
    AssignWindows {
        /// The column with the event time; `None`: the processing time of the epoch.
        time: Option<usize>,
        /// The windows.
        window: Window,
    },
    /// A row for each element of a list (or map) column, which the element replaces.
    Unnest {
        /// The column.
        column: usize,
        /// Whether an empty or missing list gives a row with NULL.
        preserve_nulls: bool,
    },
    /// Groups and aggregates.
    Aggregate(Aggregate),
    /// Two streams.
    Join(Join),
    /// A stream and a table.
    Lookup(Lookup),
    /// The first rows of each group in an order; deduplication is the first one.
    TopN(TopN),
    /// All rows of all inputs.
    Union,
    /// Audio to transcripts. Alone in its stage, which is no graph of operators then: it reads records of audio and writes records of
    /// transcripts itself.
    Transcribe(Transcribe),
}

impl Operation {
    /// How far behind the watermark of its inputs the watermark of what it puts out is, in microseconds: a join puts rows out
    /// that have waited for their partners.
    pub fn delay(&self) -> i64 {
        match self {
            Operation::Join(join) => join.bound.delay(),
            _ => 0,
        }
    }
}

/// Where a stage's rows go.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To the next stage, re-keyed: a row goes to the partition of its `keys`. All rows of one key meet in one task.
    Exchange {
        /// Name of the topic.
        topic: Arc<str>,
        /// Number of partitions, which is the number of tasks of the next stage.
        partitions: u32,
        /// Over the columns of the last node.
        keys: Vec<Expr>,
    },
    /// To the query's result. If the last node has a column [`DELETED`] after those of the result, a row where that is true deletes its
    /// key (what a `HAVING` over changing groups makes of groups that no longer meet it).
    Result,
}
