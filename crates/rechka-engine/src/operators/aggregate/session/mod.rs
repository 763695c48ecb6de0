//! Sessions: rows of a key that follow each other in less than a gap.
//!
//! A row is the session [time, time + gap). Sessions of a key that overlap are one; so two rows exactly the gap apart
//! are two sessions. The rows of an epoch make sessions of their own first ([`local`]), which are then merged with
//! those that are open ([`open`]). A row is late if the session that it ends up in, all rows of the epoch taken
//! together, ends at or before the watermark.
mod local;
mod merge;
mod open;
mod partial;
mod source;

use arrow::{
    array::{BooleanArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
};

use self::{local::Local, open::Open};
pub(super) use self::{partial::PartialSessions, source::Source};
use super::{
    deltas,
    merger::{Merger, Windows},
    panes::Span,
};
use crate::{
    Result,
    operators::{Delta, Operator, Output, Time, unknown_change},
};

/// Sessions with their totals, which take the place of those that they overlap.
const TOTALS: u8 = 0;
/// The time until which sessions are closed.
const CLOSED: u8 = 1;

/// Keeps the open sessions, and writes each once, when the watermark closes it.
pub(super) struct Sessions {
    merger: Merger,
    by_clock: bool,
    source: Source,
    local: Local,
    open: Open,
    /// Of the rows of this epoch.
    watermark: i64,
    deltas: Vec<Delta>,
}

impl Sessions {
    pub fn new(merger: Merger, by_clock: bool, source: Source) -> Result<Self> {
        Ok(Sessions {
            by_clock,
            source,
            local: Local::new(&merger)?,
            open: Open::new(&merger)?,
            merger,
            watermark: i64::MIN,
            deltas: Vec::new(),
        })
    }

    fn delta(&self, spans: &[Span], groups: &RecordBatch) -> Result<Delta> {
        let (starts, ends) = columns(spans);
        deltas::of_spans(TOTALS, starts, ends, groups, self.merger.layout())
    }
}

impl Operator for Sessions {
    fn push(&mut self, _: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        self.watermark = if self.by_clock { i64::MIN } else { time.watermark };
        self.source.push(rows, time, self.watermark, &mut self.local, out)
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        self.local.settle(&mut self.open, self.watermark, out)?;
        let (spans, groups) = self.open.add(self.local.seal()?, &self.merger)?;
        let until = match self.by_clock && time.watermark != i64::MAX {
            true => time.now,
            false => time.watermark,
        };
        // A session that came and went in this epoch is in no delta.
        let kept: BooleanArray = spans.iter().map(|span| Some(span.end > until)).collect();
        if kept.true_count() > 0 {
            let spans: Vec<Span> = spans.into_iter().filter(|span| span.end > until).collect();
            let delta = self.delta(&spans, &filter_record_batch(&groups, &kept)?)?;
            self.deltas.push(delta);
        }
        let (spans, groups) = self.open.close(until)?;
        if !spans.is_empty() {
            let windows = Windows::Each(&spans);
            out.rows.push(self.merger.put_out(windows, &[groups], &mut out.dead)?);
            self.deltas.push(deltas::of_time(CLOSED, until)?);
        }
        self.open.tidy(&self.merger)
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(std::mem::take(&mut self.deltas))
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.deltas.clear();
        let (spans, groups) = self.open.all()?;
        Ok(vec![self.delta(&spans, &groups)?])
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        match delta.kind {
            TOTALS => {
                let (starts, ends, groups) = deltas::spans_of(delta, self.merger.layout())?;
                let spans = starts.values().iter().zip(ends.values());
                let spans: Vec<Span> = spans.map(|(&start, &end)| Span { start, end }).collect();
                self.open.put(&spans, groups, &self.merger)
            }
            CLOSED => {
                self.open.close(deltas::time_of(delta)?)?;
                self.open.tidy(&self.merger)
            }
            _ => Err(unknown_change(delta)),
        }
    }

    fn state_bytes(&self) -> usize {
        self.local.size() + self.open.size()
    }
}

/// Starts and ends.
fn columns(spans: &[Span]) -> (Int64Array, Int64Array) {
    let column = |bound: fn(&Span) -> i64| Int64Array::from_iter_values(spans.iter().map(bound));
    (column(|span| span.start), column(|span| span.end))
}
