//! Partial aggregates that came through an exchange, each into its pane.
use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::filter,
    datatypes::Int64Type,
};
use rechka_sql::plan::{self, Aggregate};

use super::{
    groups::{Groups, Slot},
    intake::{NOWHERE, keep_placed, one_pane},
    panes::{Pane, Windows},
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
    pub fn new(aggregate: &Aggregate, windows: Option<Windows>) -> Self {
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
                out.late_partials += self.assign(&windows, panes, time.watermark, groups);
            }
            (Some(windows), PaneOf::Key(end)) => {
                let times = microseconds(&keys[*end])?;
                let panes = times.iter().map(|end| end.map(|end| windows.pane(end)));
                out.late_partials += self.assign(&windows, panes, time.watermark, groups);
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

    /// Finds the slot of each group; gives how many windows were missed.
    fn assign(
        &mut self,
        windows: &Windows,
        panes: impl Iterator<Item = Option<Pane>>,
        watermark: i64,
        groups: &mut Groups,
    ) -> u64 {
        self.slots.clear();
        let mut missed = 0;
        let mut last = (None, NOWHERE);
        for pane in panes {
            if last.0 != pane || pane.is_none() {
                let open = pane.and_then(|pane| windows.open(pane, watermark));
                last = (pane, open.map_or(NOWHERE, |open| groups.slot(open)));
            }
            missed += match pane {
                Some(pane) if pane.end <= watermark => windows.windows(pane, i64::MIN, watermark).count() as u64,
                Some(_) => 0,
                None => 1,
            };
            self.slots.push(last.1);
        }
        missed
    }
}
