use datafusion::physical_expr::PhysicalSortExpr;

use super::Expr;

/// The first rows of each group in an order (`ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) <= limit`).
/// Columns of the result: the input's, then the row number (`UInt64`, from 1). Of equal rows the earlier stays first.
#[derive(Clone, Debug, PartialEq)]
pub struct TopN {
    /// What groups the rows.
    pub partition: Vec<Expr>,
    /// The order within a group.
    pub order: Vec<PhysicalSortExpr>,
    /// How many rows of each group.
    pub limit: u64,
    /// When a group's rows are known for good.
    pub closing: Closing,
}

/// When the first rows of a group are known for good, and so are written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// When the watermark reaches this column: the end of the group's window (exclusive).
    WindowEnd(usize),
    /// The order is by this column, the event time, ascending: a row is final when the watermark has passed it.
    EventTime(usize),
    /// Never: after each epoch the ranks that changed are written (emit update; the key is the partition and the rank).
    Never,
}
