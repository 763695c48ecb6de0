use datafusion::logical_expr::JoinType;

use super::Expr;

/// Name of the last column of a table's rows, as the engine brings them to a [`Lookup`]: whether the row deletes its key.
pub const DELETED: &str = "rechka_deleted";

/// Joins two streams: rows whose keys are equal, whose times lie in the bound, and for which `filter` is true.
/// Columns of the result: the left ones, then the right ones (semi and anti joins: only the side that is kept).
#[derive(Clone, Debug, PartialEq)]
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
/// A row is kept until the watermark says that no partner can come any more. A row whose time is before the watermark is late; a row
/// without a time, or with a key that is NULL, matches nothing.
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

impl TimeBound {
    /// How far the time of either row of a pair may lie before the watermark when the pair is complete.
    pub fn delay(&self) -> i64 {
        self.upper.max(self.lower.saturating_neg()).max(0)
    }
}

/// Looks each row of a stream up in a table: its latest row of the same key.
/// Columns of the result: the stream's, then the table's.
///
/// `on` covers the key of the table: a row of the table replaces the one before it with the same values in `on`. The table's
/// rows come with a Boolean column [`DELETED`] after the others; where it is true, the key is deleted, and of the row only the
/// columns of the key (and the time, if the table is asked as of a time) mean something.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// Whether a row without partner is kept, with NULLs ([`JoinType::Left`]) or not ([`JoinType::Inner`]).
    pub kind: JoinType,
    /// Pairs of equal keys: over the stream's and over the table's columns.
    pub on: Vec<(Expr, Expr)>,
    /// Further condition, over the stream's columns followed by the table's.
    pub filter: Option<Expr>,
    /// Whether each row asks for the table as it was at the row's time, not for its latest state. The row then waits until the
    /// watermark has passed its time; one whose time is before the watermark is late.
    pub as_of: Option<AsOf>,
}

/// The times by which a row of a stream finds its version of the table: the last one that is not after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The stream's column with the time.
    pub stream: usize,
    /// The stream's column of which the watermark speaks, and by which a row is late: the same, or of a time in a window its end.
    pub event: usize,
    /// The table's column with the time from which a row is valid. A row that comes when the watermark has passed its time, or that
    /// has none, is valid from the watermark on.
    pub table: usize,
}
