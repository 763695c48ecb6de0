//! What each type of join puts out.
use datafusion::logical_expr::JoinType;

use crate::{EngineError, Result};

/// What is put out of one side's rows besides pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// Nothing.
    Never,
    /// Rows that found no partner, with NULLs for it: outer joins.
    Padded,
    /// Rows that found a partner, once: semi joins.
    Matched,
    /// Rows that found no partner: anti joins.
    Unmatched,
}

impl Alone {
    /// Whether it matters if a kept row has found a partner.
    pub fn is_tracked(self) -> bool {
        self != Alone::Never
    }

    /// Whether a row waits for the time when no partner can come any more.
    pub fn waits(self) -> bool {
        matches!(self, Alone::Padded | Alone::Unmatched)
    }

    /// Whether a row is of no use after it has found a partner.
    pub fn ends_with_match(self) -> bool {
        matches!(self, Alone::Matched | Alone::Unmatched)
    }
}

/// Whether pairs are put out, and what of the left and of the right side besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub pairs: bool,
    pub alone: [Alone; 2],
}

impl Kind {
    pub fn new(join: JoinType) -> Result<Self> {
        use Alone::{Matched, Never, Padded, Unmatched};
        let (pairs, left, right) = match join {
            JoinType::Inner => (true, Never, Never),
            JoinType::Left => (true, Padded, Never),
            JoinType::Right => (true, Never, Padded),
            JoinType::Full => (true, Padded, Padded),
            JoinType::LeftSemi => (false, Matched, Never),
            JoinType::RightSemi => (false, Never, Matched),
            JoinType::LeftAnti => (false, Unmatched, Never),
            JoinType::RightAnti => (false, Never, Unmatched),
            other => return Err(EngineError::Query(format!("streams can't be joined by a {other} join"))),
        };
        Ok(Self {
            pairs,
            alone: [left, right],
        })
    }
}
