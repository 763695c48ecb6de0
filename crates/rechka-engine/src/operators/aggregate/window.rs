//! Windows whose results are written once, when the watermark closes them.
use std::collections::{BTreeMap, BTreeSet};

use arrow::{array::RecordBatch, compute::concat_batches};

use super::{
    deltas,
    groups::Groups,
    intake::Intake,
    merger::{Merger, Spans},
    panes::{Pane, Span, Windows},
    runs::Runs,
};
use crate::{
    Result,
    operators::{Delta, Operator, Output, Time, unknown_change},
};

/// Results of small windows go out together, up to so many rows.
const BATCH: usize = 8192;

/// A run of a pane, added in an epoch.
const RUN: u8 = 0;
/// A run of a pane as a snapshot found it.
const KEPT: u8 = 1;
/// The time until which windows are closed.
const CLOSED: u8 = 2;

/// Keeps the groups of each pane until the last window that it counts in has closed.
pub(super) struct Append {
    merger: Merger,
    windows: Windows,
    /// Whether windows close by the clock.
    by_clock: bool,
    intake: Intake,
    groups: Groups,
    panes: BTreeMap<Pane, Runs>,
    /// All windows that end until then are closed.
    closed: i64,
    deltas: Vec<Delta>,
}

impl Append {
    pub fn new(merger: Merger, windows: Windows, by_clock: bool, intake: Intake, groups: Groups) -> Self {
        Append {
            merger,
            windows,
            by_clock,
            intake,
            groups,
            panes: BTreeMap::new(),
            closed: i64::MIN,
            deltas: Vec::new(),
        }
    }

    /// Puts out the windows that end until then.
    fn close(&mut self, until: i64, out: &mut Output) -> Result<()> {
        let mut due = BTreeSet::new();
        let mut after = self.closed;
        for pane in self.panes.keys().take_while(|pane| pane.start <= until) {
            let windows = self.windows.windows(*pane, after, until);
            due.extend(windows.map(|window| (window.end, window.start)));
            // The next pane has these windows too, as far as it counts in them; unless rows of this one came too late for the first.
            if *pane == self.windows.pane(pane.start) {
                after = after.max(self.windows.last_end(*pane).min(until));
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let mut small = Vec::new();
        for (end, start) in due {
            let rows = self.result(Span { start, end }, out)?;
            if small.iter().map(RecordBatch::num_rows).sum::<usize>() + rows.num_rows() > BATCH {
                flush(&mut small, out)?;
            }
            small.push(rows);
        }
        flush(&mut small, out)?;
        self.forget(until);
        self.deltas.push(deltas::of_time(CLOSED, until)?);
        Ok(())
    }

    /// The rows of a window.
    fn result(&mut self, window: Span, out: &mut Output) -> Result<RecordBatch> {
        let starts = self.windows.starts(window);
        let first = Pane {
            start: starts.start,
            end: i64::MIN,
        };
        let panes = self
            .panes
            .range(first..)
            .take_while(|(pane, _)| pane.start < starts.end);
        let panes = panes.filter(|(pane, _)| pane.end <= window.end);
        let runs: Vec<RecordBatch> = panes.flat_map(|(_, runs)| runs.iter().cloned()).collect();
        self.merger.put_out(Spans::One(window), &runs, &mut out.dead)
    }

    /// Forgets the panes that no open window needs.
    fn forget(&mut self, until: i64) {
        self.closed = self.closed.max(until);
        let Append {
            windows, panes, closed, ..
        } = self;
        panes.retain(|pane, _| windows.last_end(*pane) > *closed);
    }
}

impl Operator for Append {
    fn push(&mut self, _: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        // The clock may go back; windows that are closed stay closed.
        let time = Time {
            now: time.now.max(self.closed),
            ..time
        };
        self.intake.push(rows, time, &mut self.groups, out)
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        let runs = self.groups.seal()?.by_pane(&self.merger.layout().groups)?;
        for (pane, run) in &runs {
            self.panes
                .entry(*pane)
                .or_default()
                .push(run.clone(), &mut self.merger)?;
        }
        let until = match self.by_clock && time.watermark != i64::MAX {
            true => time.now,
            false => time.watermark,
        };
        // First the runs, then what is closed: a pane that came and went in this epoch is in no delta.
        let at = self.deltas.len();
        self.close(until, out)?;
        let kept = runs.iter().filter(|(pane, _)| self.panes.contains_key(pane));
        let kept = kept
            .map(|(pane, run)| deltas::of_pane(RUN, *pane, run, self.merger.layout()))
            .collect::<Result<Vec<_>>>()?;
        self.deltas.splice(at..at, kept);
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(std::mem::take(&mut self.deltas))
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.deltas.clear();
        let runs = self
            .panes
            .iter()
            .flat_map(|(pane, runs)| runs.iter().map(|run| (*pane, run)));
        let layout = self.merger.layout();
        let mut all = runs
            .map(|(pane, run)| deltas::of_pane(KEPT, pane, run, layout))
            .collect::<Result<Vec<_>>>()?;
        all.push(deltas::of_time(CLOSED, self.closed)?);
        Ok(all)
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        if delta.kind == CLOSED {
            self.forget(deltas::time_of(delta)?);
            return Ok(());
        }
        let (pane, run) = deltas::pane_of(delta, self.merger.layout())?;
        let runs = self.panes.entry(pane).or_default();
        match delta.kind {
            RUN => runs.push(run, &mut self.merger),
            KEPT => {
                runs.put_back(run);
                Ok(())
            }
            _ => Err(unknown_change(delta)),
        }
    }

    fn state_bytes(&self) -> usize {
        self.groups.size() + self.panes.values().map(Runs::size).sum::<usize>()
    }
}

/// Puts results out as one batch.
fn flush(small: &mut Vec<RecordBatch>, out: &mut Output) -> Result<()> {
    match &small[..] {
        [] => {}
        [one] => out.rows.push(one.clone()),
        [first, ..] => out.rows.push(concat_batches(&first.schema(), small.iter())?),
    }
    small.clear();
    Ok(())
}
