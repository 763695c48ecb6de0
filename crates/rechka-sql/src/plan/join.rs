use datafusion::logical_expr::JoinType;

use super::Expr;

/// Joins two streams: rows whose keys are equal, whose times lie in the bound, and for which `filter` is true.
/// Columns of the result: the left ones, then the right ones (semi and anti joins: only the side that is kept).
#[derive(Clone, Debug)]
pub struct Join {
    /// Inner, outer, semi or anti.
    pub kind: JoinType,
    /// Pairs of equal keys: over the left and over the right columns.
    pub on: Vec<(Expr, Expr)>,
    /// Further condition, over the left columns followed by the right ones.
    pub filter: Option<Expr>,
    /// How far apart in time two rows may be.
    pub bound: TimeBound,
}

/// A pair may match if `left + lower <= right <= left + upper` for the times of its rows, in microseconds.
/// A row is kept until the watermark says that no partner can come any more. A row whose time is before the watermark is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBound {
    /// The left column with the time.
    pub left: usize,
    /// The right column with the time.
    pub right: usize,
    /// From the left time to the earliest partner's; may be negative.
    pub lower: i64,
    /// From the left time to the last partner's.
    pub upper: i64,
}

/// Looks each row of a stream up in a table: its latest row of the same key.
/// Columns of the result: the stream's, then the table's.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Whether a row without partner is kept, with NULLs ([`JoinType::Left`]) or not ([`JoinType::Inner`]).
    pub kind: JoinType,
    /// Pairs of equal keys: over the stream's and over the table's columns.
    pub on: Vec<(Expr, Expr)>,
    /// Further condition, over the stream's columns followed by the table's.
    pub filter: Option<Expr>,
    /// The stream's column with the time as of which the table is asked, if not its latest state.
    pub as_of: Option<usize>,
}
