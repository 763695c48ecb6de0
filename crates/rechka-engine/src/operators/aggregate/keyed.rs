//! Groups whose results are written whenever they change, with or without windows.
use std::collections::{BTreeMap, btree_map::Entry};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use rechka_sql::plan::Emit;

use super::{
    deltas,
    groups::{Groups, batch},
    intake::Intake,
    keys::Keys,
    merger::{Merger, Spans},
    panes::{Pane, Span, Windows},
    store::Store,
};
use crate::{
    Result,
    operators::{Delta, Operator, Output, Time, unknown_change},
};

/// Groups with their totals, which take the place of what was known of them.
const TOTALS: u8 = 0;
/// The time until which windows are closed.
const CLOSED: u8 = 1;

/// Keeps the totals of every group: for ever, or until the watermark reaches the end of its window.
pub(super) struct Keyed {
    merger: Merger,
    windows: Option<Windows>,
    by_clock: bool,
    /// Whether there is one group, which exists before the first row.
    announce: bool,
    /// Whether all groups are written when one has changed.
    complete: bool,
    intake: Intake,
    groups: Groups,
    /// By end and start of the window.
    totals: BTreeMap<(i64, i64), Totals>,
    closed: i64,
    deltas: Vec<Delta>,
}

/// The groups of a window.
struct Totals {
    keys: Keys,
    store: Store,
}

impl Keyed {
    /// `announce`: there is one group, and it exists from the beginning, and this operator is the first to know.
    pub fn new(
        merger: Merger,
        windows: Option<Windows>,
        by_clock: bool,
        announce: bool,
        emit: Emit,
        intake: Intake,
        groups: Groups,
    ) -> Self {
        Keyed {
            merger,
            windows,
            by_clock,
            announce,
            complete: emit == Emit::Complete,
            intake,
            groups,
            totals: BTreeMap::new(),
            closed: i64::MIN,
            deltas: Vec::new(),
        }
    }

    /// What the epoch brought, by end and start of the window.
    fn changes(&mut self) -> Result<BTreeMap<(i64, i64), Vec<RecordBatch>>> {
        let mut changes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (pane, run) in self.groups.seal()?.by_pane(&self.merger.layout().groups)? {
            let windows: Vec<Span> = match self.windows {
                Some(windows) => windows.windows(pane, i64::MIN, i64::MAX).collect(),
                None => vec![Span {
                    start: pane.start,
                    end: pane.end,
                }],
            };
            for window in windows {
                changes.entry((window.end, window.start)).or_default().push(run.clone());
            }
        }
        Ok(changes)
    }

    fn delta(&self, window: (i64, i64), groups: &RecordBatch) -> Result<Delta> {
        let (end, start) = window;
        deltas::of_pane(TOTALS, Pane { start, end }, groups, self.merger.layout())
    }

    fn forget(&mut self, until: i64) {
        self.closed = self.closed.max(until);
        self.totals = self.totals.split_off(&(self.closed.saturating_add(1), i64::MIN));
    }
}

impl Totals {
    fn new(merger: &Merger) -> Result<Self> {
        Ok(Totals {
            keys: Keys::new(&merger.layout().keys)?,
            store: Store::new(&merger.layout().groups),
        })
    }

    /// Puts totals in place of those of the same keys.
    fn put(&mut self, totals: RecordBatch, width: usize) -> Result<()> {
        let mut numbers = Vec::new();
        self.keys
            .intern(&totals.columns()[..width], totals.num_rows(), &mut numbers)?;
        self.store
            .put(totals, numbers.into_iter().map(|number| number as u32).collect())
    }

    /// Adds to the totals, and gives those that changed.
    fn add(&mut self, change: RecordBatch, merger: &Merger) -> Result<RecordBatch> {
        let (keys, states) = change.columns().split_at(merger.layout().keys.fields().len());
        let count = change.num_rows();
        let mut numbers = Vec::new();
        let known = self.keys.len();
        self.keys.intern(keys, count, &mut numbers)?;
        if states.is_empty() {
            // Without functions a group never changes: it is new, or it is not.
            let is_new: BooleanArray = numbers.iter().map(|number| Some(*number >= known)).collect();
            let new = filter_record_batch(&change, &is_new)?;
            self.store
                .put(new.clone(), (known as u32..self.keys.len() as u32).collect())?;
            return Ok(new);
        }
        // What is known already, and where in the change it stands.
        let (places, old): (Vec<usize>, Vec<u32>) = numbers
            .iter()
            .enumerate()
            .filter(|(_, number)| **number < known)
            .map(|(place, number)| (place, *number as u32))
            .unzip();
        let old = self.store.get(&old)?;
        let all: Vec<usize> = (0..count).collect();
        let states = merger.combine(&old.columns()[keys.len()..], &places, states, &all, count)?;
        let columns = keys.iter().cloned().chain(states).collect();
        let totals = batch(&merger.layout().groups, columns, count)?;
        self.store.put(
            totals.clone(),
            numbers.into_iter().map(|number| number as u32).collect(),
        )?;
        Ok(totals)
    }
}

impl Operator for Keyed {
    fn push(&mut self, _: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        // The clock may go back; windows that are closed stay closed.
        let time = Time {
            now: time.now.max(self.closed),
            ..time
        };
        self.intake.push(rows, time, &mut self.groups, out)
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        if self.announce && self.totals.is_empty() {
            self.groups.touch()?;
        }
        let changes = self.changes()?;
        let mut changed = false;
        for (window, runs) in changes {
            let change = match &runs[..] {
                [run] => run.clone(),
                runs => self.merger.states(runs)?,
            };
            let totals = match self.totals.entry(window) {
                Entry::Occupied(totals) => totals.into_mut(),
                Entry::Vacant(empty) => empty.insert(Totals::new(&self.merger)?),
            };
            let totals = totals.add(change, &self.merger)?;
            if totals.num_rows() == 0 {
                continue;
            }
            changed = true;
            self.deltas.push(self.delta(window, &totals)?);
            if !self.complete {
                put_out(&mut self.merger, window, totals, out)?;
            }
        }
        if self.complete && changed {
            for (window, totals) in &self.totals {
                let groups = totals.store.get(&totals.store.all())?;
                put_out(&mut self.merger, *window, groups, out)?;
            }
        }
        let until = match self.by_clock && time.watermark != i64::MAX {
            true => time.now,
            false => time.watermark,
        };
        if self.windows.is_some() && self.totals.keys().next().is_some_and(|(end, _)| *end <= until) {
            self.forget(until);
            self.deltas.push(deltas::of_time(CLOSED, until)?);
        }
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(std::mem::take(&mut self.deltas))
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.deltas.clear();
        let mut all = Vec::new();
        for (window, totals) in &self.totals {
            all.push(self.delta(*window, &totals.store.get(&totals.store.all())?)?);
        }
        all.push(deltas::of_time(CLOSED, self.closed)?);
        Ok(all)
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        match delta.kind {
            TOTALS => {
                let (Pane { start, end }, totals) = deltas::pane_of(delta, self.merger.layout())?;
                let known = match self.totals.entry((end, start)) {
                    Entry::Occupied(totals) => totals.into_mut(),
                    Entry::Vacant(empty) => empty.insert(Totals::new(&self.merger)?),
                };
                known.put(totals, self.merger.layout().keys.fields().len())
            }
            CLOSED => {
                let until = deltas::time_of(delta)?;
                if self.windows.is_some() {
                    self.forget(until);
                }
                Ok(())
            }
            _ => Err(unknown_change(delta)),
        }
    }

    fn state_bytes(&self) -> usize {
        let totals = self
            .totals
            .values()
            .map(|totals| totals.keys.size() + totals.store.size());
        self.groups.size() + totals.sum::<usize>()
    }
}

/// Puts out the rows of groups (keys and states) of a window.
fn put_out(merger: &mut Merger, (end, start): (i64, i64), groups: RecordBatch, out: &mut Output) -> Result<()> {
    let window = Spans::One(Span { start, end });
    out.rows.push(merger.put_out(window, &[groups], &mut out.dead)?);
    Ok(())
}
