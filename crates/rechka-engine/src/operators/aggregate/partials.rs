//! Partial aggregates that came through an exchange, each into its pane.
use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{filter, take_arrays},
    datatypes::Int64Type,
};
use rechka_sql::plan::{self, Aggregate};

use super::{
    groups::{Groups, Slot, batch},
    intake::{NOWHERE, keep_placed, one_pane},
    merger::{Merger, Spans},
    panes::{Pane, Span, Windows},
};
use crate::{
    Result,
    operators::{Output, Time, expressions::microseconds},
};

/// Reads partial aggregates: start and end of a pane if groups are windows, keys, states.
pub(super) struct Partials {
    keys: usize,
    pane: PaneOf,
    windows: Option<Windows>,
    /// For those that come too late.
    merger: Merger,
    /// Slots of the groups at hand.
    slots: Vec<Slot>,
}

/// Where the pane stands.
enum PaneOf {
    /// In the first two columns.
    Columns,
    /// The key of this number is the end of the window.
    Key(usize),
    /// It is that of the clock, whatever the first two columns say: when the groups come counts.
    Clock,
    /// There is none.
    None,
}

impl Partials {
    pub fn new(aggregate: &Aggregate, windows: Option<Windows>, merger: Merger) -> Self {
        let pane = match aggregate.groups {
            plan::Groups::Windows { time: Some(_), .. } => PaneOf::Columns,
            plan::Groups::Windows { time: None, .. } => PaneOf::Clock,
            plan::Groups::Carried { end } => PaneOf::Key(end),
            plan::Groups::Keys => PaneOf::None,
        };
        Partials {
            keys: aggregate.keys.len(),
            pane,
            windows,
            merger,
            slots: Vec::new(),
        }
    }

    pub fn push(&mut self, rows: &RecordBatch, time: Time, groups: &mut Groups, out: &mut Output) -> Result<()> {
        let before = if matches!(self.pane, PaneOf::Columns | PaneOf::Clock) {
            2
        } else {
            0
        };
        let (pane, rest) = rows.columns().split_at(before);
        let (keys, states) = rest.split_at(self.keys);
        match (self.windows, &self.pane) {
            (None, _) | (_, PaneOf::None) => one_pane(rows.num_rows(), None, groups, &mut self.slots),
            (Some(windows), PaneOf::Clock) => {
                one_pane(rows.num_rows(), Some(windows.pane(time.now)), groups, &mut self.slots);
            }
            (Some(windows), PaneOf::Columns) => {
                let [starts, ends] = [0, 1].map(|column| pane[column].as_primitive::<Int64Type>().values());
                let panes = starts.iter().zip(ends).map(|(&start, &end)| Some(Pane { start, end }));
                let late = self.assign(&windows, panes, time.watermark, groups);
                self.put_out(&late, rest, out)?;
            }
            (Some(windows), PaneOf::Key(end)) => {
                let times = microseconds(&keys[*end])?;
                let panes = times.iter().map(|end| end.map(|end| windows.pane(end)));
                let late = self.assign(&windows, panes, time.watermark, groups);
                self.put_out(&late, rest, out)?;
            }
        }
        if !self.slots.contains(&NOWHERE) {
            return groups.merge(keys, states, &self.slots);
        }
        let placed = keep_placed(&mut self.slots);
        let on_time = |columns: &[ArrayRef]| columns.iter().map(|column| Ok(filter(column, &placed)?)).collect();
        let (keys, states): (Result<Vec<_>>, Result<Vec<_>>) = (on_time(keys), on_time(states));
        groups.merge(&keys?, &states?, &self.slots)
    }

    /// Finds the slot of each group; gives those that missed windows, once for each.
    fn assign(
        &mut self,
        windows: &Windows,
        panes: impl Iterator<Item = Option<Pane>>,
        watermark: i64,
        groups: &mut Groups,
    ) -> Vec<(u32, Span)> {
        self.slots.clear();
        let mut missed = Vec::new();
        let mut last = (None, NOWHERE);
        for (group, pane) in (0..).zip(panes) {
            if last.0 != pane || pane.is_none() {
                let open = pane.and_then(|pane| windows.open(pane, watermark));
                last = (pane, open.map_or(NOWHERE, |open| groups.slot(open)));
            }
            match pane {
                Some(pane) if pane.end <= watermark => {
                    let windows = windows.windows(pane, i64::MIN, watermark);
                    missed.extend(windows.map(|window| (group, window)));
                }
                Some(_) => {}
                // Its rows carried no window.
                None => missed.push((group, Span::at(i64::MIN))),
            }
            self.slots.push(last.1);
        }
        missed
    }

    /// Puts groups (keys and states) out for the windows that they missed: what the functions make of them alone.
    fn put_out(&mut self, late: &[(u32, Span)], groups: &[ArrayRef], out: &mut Output) -> Result<()> {
        if late.is_empty() {
            return Ok(());
        }
        let (numbers, windows): (Vec<u32>, Vec<Span>) = late.iter().copied().unzip();
        let columns = take_arrays(groups, &UInt32Array::from(numbers), None)?;
        let groups = batch(&self.merger.layout().groups, columns, late.len())?;
        let rows = self.merger.put_out(Spans::Each(&windows), &[groups], &mut out.dead)?;
        out.late.push(rows);
        Ok(())
    }
}
