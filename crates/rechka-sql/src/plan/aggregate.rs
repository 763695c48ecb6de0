use std::sync::Arc;

use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::{Expr, Window};

/// Groups rows and aggregates each group.
///
/// Columns of the result: the `keys`; `window_start` and `window_end` (in the type of the time column) when the groups are
/// [`Groups::Windows`]; the aggregates.
///
/// [`Phase::Partial`] instead writes, and [`Phase::Final`] reads: two `Int64` columns when the groups are windows (hop, cumulate: start
/// and end of a pane; session: start and end of a session), the keys, and of each aggregate its state columns
/// ([`AggregateFunctionExpr::state_fields`]). A final node is the partial one's twin: its `keys` are the key columns of its own input,
/// its `columns` are the partial node's, of which it uses only the states (arguments and filters are over the partial node's input),
/// and of its `groups` the time column's index means nothing (that there is one still does). Rows that are late are found by the
/// partial node, which still has them, except those of sessions, which the final node finds: rows behind the watermark stay sessions of their own
/// on their way to it, and it puts out what the functions make of those that are late.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What the rows are grouped by besides the keys.
    pub groups: Groups,
    /// What the rows are grouped by, over the columns of the input.
    pub keys: Vec<Expr>,
    /// What is computed for each group.
    pub columns: Vec<AggregateColumn>,
    /// Which part of the work.
    pub phase: Phase,
    /// When results are written.
    pub emit: Emit,
}

/// One aggregate function.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateColumn {
    /// The function with its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// Only rows for which this is true count.
    pub filter: Option<Expr>,
}

/// How time takes part in the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Not at all: a group never ends.
    Keys,
    /// Rows fall in windows by their time.
    Windows {
        /// The column with the event time; `None`: the processing time of the epoch.
        time: Option<usize>,
        /// The windows.
        window: Window,
    },
    /// Rows carry their window: the window ends are among the keys. A group ends when the watermark reaches the key number `end` (a timestamp, exclusive).
    Carried {
        /// Index into `keys`.
        end: usize,
    },
}

/// Which part of an aggregation a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All of it.
    Single,
    /// Before an exchange: the partial aggregates of one epoch.
    Partial,
    /// After an exchange.
    Final,
}

/// When a group's result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Once, when the watermark says that the group is complete.
    Append,
    /// After each epoch, the groups that changed.
    Update,
    /// After each epoch in which something changed, all groups.
    Complete,
}
