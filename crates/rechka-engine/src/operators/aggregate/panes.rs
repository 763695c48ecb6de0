//! Windows in event time, cut into panes.
//!
//! A pane is the shortest piece of time that windows are made of: a row changes one pane, however many windows it
//! falls in, and a window is merged from its panes when it closes ("No Pane, No Gain", Li et al., SIGMOD Record 34,
//! 2005).
//!
//! ```text
//!   panes    │ p0 │ p1 │ p2 │ p3 │ …       hop of 4 panes
//!   windows  [───────────────────)
//!                 [───────────────────)
//! ```
use std::iter::StepBy;
use std::ops::{Range, RangeInclusive};

use rechka_sql::plan;

use crate::{EngineError, Result};

/// No time and no length is beyond this, so that sums can't overflow: some 73,000 years.
pub(super) const FAR: i64 = i64::MAX >> 2;

/// Rows that count in the same windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pane {
    /// Where the piece of time begins.
    pub start: i64,
    /// End of the first window that the rows count in. For rows that are not late that is the end of the pane.
    pub end: i64,
}

/// The pane of groups that never end.
pub(super) const FOREVER: Pane = Pane {
    start: i64::MIN,
    end: i64::MAX,
};

/// From `start` to `end`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: i64,
    pub end: i64,
}

impl Span {
    pub fn overlaps(self, other: Span) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Nothing but a moment.
    pub fn at(moment: i64) -> Self {
        Span {
            start: moment,
            end: moment,
        }
    }

    /// Makes it so long that it holds the other.
    pub fn extend(&mut self, other: Span) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
    }
}

/// Which windows there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Windows {
    /// Of `size`, one beginning every `slide`.
    Hop { size: i64, slide: i64, offset: i64 },
    /// Beginning every `size`, growing by `step`.
    Cumulate { size: i64, step: i64, offset: i64 },
    /// Those whose ends the rows tell: a pane for each.
    Carried,
}

impl Windows {
    /// Windows that are no sessions.
    pub fn new(window: plan::Window) -> Result<Self> {
        let (windows, size, step) = match window {
            plan::Window::Hop { size, slide, offset } => (Windows::Hop { size, slide, offset }, size, slide),
            plan::Window::Cumulate { size, step, offset } => (Windows::Cumulate { size, step, offset }, size, step),
            plan::Window::Session { .. } => {
                return Err(EngineError::Query(
                    "rows can't be assigned to sessions one by one: aggregate them".into(),
                ));
            }
        };
        if step <= 0 || size <= 0 || size > FAR || size % step != 0 || size / step > plan::Window::MAX_OVERLAP {
            return Err(EngineError::Query(format!(
                "a window's length ({size} µs) must be a multiple of its step ({step} µs), at most {} steps",
                plan::Window::MAX_OVERLAP
            )));
        }
        Ok(windows)
    }

    /// The pane of a time.
    pub fn pane(&self, time: i64) -> Pane {
        let time = time.clamp(-FAR, FAR);
        match *self {
            Windows::Hop {
                slide: length, offset, ..
            }
            | Windows::Cumulate {
                step: length, offset, ..
            } => {
                let start = floor(time, length, offset);
                Pane {
                    start,
                    end: start + length,
                }
            }
            Windows::Carried => Pane { start: time, end: time },
        }
    }

    /// Which times belong to a pane.
    pub fn times(&self, pane: Pane) -> Range<i64> {
        match *self {
            Windows::Hop { slide: length, .. } | Windows::Cumulate { step: length, .. } => {
                pane.start..pane.start + length
            }
            Windows::Carried => pane.end..pane.end + 1,
        }
    }

    /// The pane, counting only in windows that end after `watermark`, if there are any.
    pub fn open(&self, pane: Pane, watermark: i64) -> Option<Pane> {
        match pane.end > watermark {
            true => Some(pane),
            false => self
                .ends(pane, watermark, FAR * 2)
                .next()
                .map(|end| Pane { end, ..pane }),
        }
    }

    /// End of the last window that a pane counts in.
    pub fn last_end(&self, pane: Pane) -> i64 {
        match *self {
            Windows::Hop { size, .. } => pane.start + size,
            Windows::Cumulate { size, offset, .. } => floor(pane.start, size, offset) + size,
            Windows::Carried => pane.end,
        }
    }

    /// The windows that a pane counts in and that end after `after` and not after `until`, by their end.
    pub fn windows(&self, pane: Pane, after: i64, until: i64) -> impl Iterator<Item = Span> {
        let start = match *self {
            Windows::Cumulate { size, offset, .. } => Some(floor(pane.start, size, offset)),
            _ => None,
        };
        let size = match *self {
            Windows::Hop { size, .. } => size,
            _ => 0,
        };
        self.ends(pane, after, until).map(move |end| Span {
            start: start.unwrap_or(end - size),
            end,
        })
    }

    fn ends(&self, pane: Pane, after: i64, until: i64) -> StepBy<RangeInclusive<i64>> {
        let step = match *self {
            Windows::Hop { slide, .. } => slide,
            Windows::Cumulate { step, .. } => step,
            Windows::Carried => 1,
        };
        let first = match pane.end > after {
            true => pane.end,
            // The first of pane.end, pane.end + step, … after `after`.
            false => pane
                .end
                .saturating_add(((after.min(FAR * 2) - pane.end) / step + 1).saturating_mul(step)),
        };
        (first..=self.last_end(pane).min(until)).step_by(usize::try_from(step).unwrap_or(usize::MAX))
    }

    /// Where the panes of a window begin.
    pub fn starts(&self, window: Span) -> Range<i64> {
        match self {
            Windows::Carried => window.end..window.end + 1,
            _ => window.start..window.end,
        }
    }
}

/// The last of …, offset - length, offset, offset + length, … that is not after `time`.
fn floor(time: i64, length: i64, offset: i64) -> i64 {
    let offset = offset.rem_euclid(length);
    (time - offset).div_euclid(length) * length + offset
}
