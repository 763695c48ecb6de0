//! Sessions: rows of a key that follow each other in less than a gap.
//!
//! A row is the session [time, time + gap). Sessions of a key that overlap are one; so two rows exactly the gap apart
//! are two sessions. The rows of an epoch make sessions of their own first ([`local`]), which are then merged with
//! those that are open ([`open`]). A row is late if the session that it ends up in, all rows of the epoch taken
//! together, ends at or before the watermark.
//!
//! A session that is written stays as it is, so a row is late, too, if it could reach into one: if it lies before the end of the last
//! session of its key that was written or, while none of that key is open, more than a gap before the watermark. For so long the ends
//! of written sessions are remembered.
mod local;
mod merge;
mod open;
mod partial;
mod pieces;
mod source;

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch},
    compute::{filter_record_batch, not},
};

use self::{
    local::{Behind, Local},
    open::Open,
    pieces::Pieces,
};
pub(super) use self::{partial::PartialSessions, source::Source};
use super::{
    deltas,
    merger::{Merger, Spans},
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
/// What is past for keys.
const PAST: u8 = 2;
/// What is past for keys without open sessions.
const PAST_OF_NEW: u8 = 3;

/// Keeps the open sessions, and writes each once, when the watermark closes it.
pub(super) struct Sessions {
    merger: Merger,
    by_clock: bool,
    source: Source,
    local: Local,
    open: Open,
    /// Of the rows of this epoch.
    watermark: i64,
    /// All sessions that end until then are closed.
    closed: i64,
    deltas: Vec<Delta>,
}

impl Sessions {
    pub fn new(merger: Merger, by_clock: bool, source: Source) -> Result<Self> {
        Ok(Sessions {
            by_clock,
            local: Local::new(&merger)?,
            open: Open::new(&merger, source.gap())?,
            source,
            merger,
            watermark: i64::MIN,
            closed: i64::MIN,
            deltas: Vec::new(),
        })
    }

    fn delta(&self, spans: &[Span], groups: &RecordBatch) -> Result<Delta> {
        let (starts, ends) = columns(spans);
        deltas::of_spans(TOTALS, starts, ends, groups, self.merger.layout())
    }

    fn past(&self, keys: &[ArrayRef], pasts: &[Span]) -> Result<Delta> {
        let (starts, ends) = columns(pasts);
        deltas::of_keys(PAST, starts, ends, keys, self.merger.layout())
    }

    /// Puts out the pieces that begin in what is past; gives the others.
    fn refuse(&mut self, pieces: Pieces, out: &mut Output) -> Result<Pieces> {
        // Nothing at or behind the watermark is past.
        let behind = |piece: &Span| piece.start < self.watermark;
        if !pieces.spans.iter().any(behind) {
            return Ok(pieces);
        }
        let missed = self.open.missed(&pieces.keys, &pieces.spans)?;
        pieces.put_out_late(&missed, &mut self.merger, out)?;
        pieces.only(&missed.iter().map(|missed| Some(missed.is_none())).collect())
    }

    /// Takes up that the rows of an epoch come behind this watermark.
    fn advance(&mut self, watermark: i64) -> Result<()> {
        let past = watermark.saturating_sub(self.source.gap());
        self.watermark = watermark;
        if past > self.open.past_of_new() {
            self.open.set_past_of_new(past);
            self.deltas.push(deltas::of_time(PAST_OF_NEW, past)?);
        }
        Ok(())
    }
}

impl Operator for Sessions {
    fn push(&mut self, _: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        // The clock may go back; sessions that are closed stay closed.
        let now = time.now.max(self.closed);
        let pieces = self.source.pieces(rows, now, self.merger.functions(), out)?;
        if self.by_clock {
            return self.local.add(pieces, Behind::Joins);
        }
        if time.watermark > self.watermark {
            self.advance(time.watermark)?;
        }
        let pieces = self.refuse(pieces, out)?;
        self.local.add(pieces, Behind::Waits(self.watermark))
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        self.local
            .settle(&mut self.open, &mut self.merger, self.watermark, out)?;
        let (changed, groups) = self.open.add(self.local.seal()?, &self.merger)?;
        let until = match self.by_clock && time.watermark != i64::MAX {
            true => time.now,
            false => time.watermark,
        };
        // Of a session that came and went in this epoch only its end is in the changelog.
        let kept: BooleanArray = changed.iter().map(|span| Some(span.end > until)).collect();
        let (kept, gone) = (kept.clone(), not(&kept)?);
        let of = |which: &BooleanArray| -> Vec<Span> {
            let spans = changed.iter().zip(which.values());
            spans.filter(|(_, which)| *which).map(|(span, _)| *span).collect()
        };
        if kept.has_true() {
            let delta = self.delta(&of(&kept), &filter_record_batch(&groups, &kept)?)?;
            self.deltas.push(delta);
        }
        if gone.has_true() && !self.by_clock {
            let gone_groups = filter_record_batch(&groups, &gone)?;
            let keys = self.merger.layout().keys.fields().len();
            let delta = self.past(&gone_groups.columns()[..keys], &of(&gone))?;
            self.deltas.push(delta);
        }
        let (spans, groups) = self.open.close(until)?;
        if !spans.is_empty() {
            let windows = Spans::Each(&spans);
            out.rows.push(self.merger.put_out(windows, &[groups], &mut out.dead)?);
            self.deltas.push(deltas::of_time(CLOSED, until)?);
            self.closed = self.closed.max(until);
        }
        self.open.tidy(until, &self.merger)
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(std::mem::take(&mut self.deltas))
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.deltas.clear();
        let (spans, groups) = self.open.all()?;
        let (keys, pasts) = self.open.remembered(self.closed)?;
        Ok(vec![
            self.delta(&spans, &groups)?,
            self.past(&keys, &pasts)?,
            deltas::of_time(PAST_OF_NEW, self.open.past_of_new())?,
            deltas::of_time(CLOSED, self.closed)?,
        ])
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
                self.closed = self.closed.max(deltas::time_of(delta)?);
                self.open.close(self.closed)?;
                self.open.tidy(self.closed, &self.merger)
            }
            PAST => {
                let (starts, ends, keys) = deltas::keys_of(delta)?;
                let pasts = starts.values().iter().zip(ends.values());
                let pasts: Vec<Span> = pasts.map(|(&start, &end)| Span { start, end }).collect();
                self.open.remember(&keys, &pasts)
            }
            PAST_OF_NEW => {
                self.open.set_past_of_new(deltas::time_of(delta)?);
                Ok(())
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
