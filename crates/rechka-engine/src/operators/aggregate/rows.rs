//! Rows, each into its pane; those that are late go out.
use std::ops::Range;

use arrow::{
    array::{Array, Int64Array, RecordBatch},
    compute::{filter, filter_record_batch},
    datatypes::{DataType, SchemaRef},
};
use rechka_sql::plan::{self, Aggregate, Expr};

use super::{
    groups::{Groups, Slot},
    intake::{NOWHERE, keep_placed, one_pane},
    late::LateRows,
    panes::Windows,
};
use crate::{
    EngineError, Result,
    operators::{
        Output, Time,
        expressions::{evaluate, microseconds},
    },
};

/// Reads rows.
pub(super) struct Rows {
    keys: Vec<Expr>,
    time: TimeOf,
    windows: Option<Windows>,
    /// Slots of the rows at hand.
    slots: Vec<Slot>,
}

/// From where a row has its time.
enum TimeOf {
    Column(usize),
    /// The end of the window that it carries, as a key.
    Key(usize),
    /// The clock.
    Now,
}

impl Rows {
    pub fn new(aggregate: &Aggregate, input: &SchemaRef, windows: Option<Windows>) -> Result<Self> {
        let time = match aggregate.groups {
            plan::Groups::Windows { time: Some(column), .. } => {
                let found = input.fields().get(column).map(|field| field.data_type());
                if !matches!(found, Some(DataType::Timestamp(_, _))) {
                    return Err(EngineError::Query(format!(
                        "column {column} is no event time: {found:?}"
                    )));
                }
                TimeOf::Column(column)
            }
            plan::Groups::Carried { end } => TimeOf::Key(end),
            plan::Groups::Windows { time: None, .. } | plan::Groups::Keys => TimeOf::Now,
        };
        Ok(Rows {
            keys: aggregate.keys.clone(),
            time,
            windows,
            slots: Vec::new(),
        })
    }

    pub fn push(&mut self, rows: &RecordBatch, time: Time, groups: &mut Groups, out: &mut Output) -> Result<()> {
        let mut keys = evaluate(&self.keys, rows)?;
        let (windows, column) = match (self.windows, &self.time) {
            (None, _) | (_, TimeOf::Now) => {
                let pane = self.windows.map(|windows| windows.pane(time.now));
                one_pane(rows.num_rows(), pane, groups, &mut self.slots);
                return groups.update(rows, &keys, &self.slots);
            }
            (Some(windows), TimeOf::Column(column)) => (windows, rows.column(*column)),
            (Some(windows), TimeOf::Key(key)) => (windows, &keys[*key]),
        };
        let times = microseconds(column)?;
        if !self.assign(&windows, &times, time.watermark, groups) {
            return groups.update(rows, &keys, &self.slots);
        }
        let late = match windows {
            Windows::Carried => LateRows::with_their_windows(rows),
            _ => LateRows::new(rows, column.data_type()),
        };
        late.write(&times, &windows, time.watermark, out)?;
        let placed = keep_placed(&mut self.slots);
        for key in &mut keys {
            *key = filter(key, &placed)?;
        }
        groups.update(&filter_record_batch(rows, &placed)?, &keys, &self.slots)
    }

    /// Finds the slot of each row; says whether there is one that missed a window.
    fn assign(&mut self, windows: &Windows, times: &Int64Array, watermark: i64, groups: &mut Groups) -> bool {
        /// The slot of all times of a pane.
        type Found = (Range<i64>, Slot);
        self.slots.clear();
        self.slots.reserve(times.len());
        let mut missed = false;
        // Rows that follow each other mostly fall in one pane, or in two by turns.
        let (mut last, mut other): (Found, Found) = ((0..0, NOWHERE), (0..0, NOWHERE));
        for time in times.values() {
            if !last.0.contains(time) {
                std::mem::swap(&mut last, &mut other);
                if !last.0.contains(time) {
                    let pane = windows.pane(*time);
                    let open = windows.open(pane, watermark);
                    missed |= open != Some(pane);
                    last = (windows.times(pane), open.map_or(NOWHERE, |pane| groups.slot(pane)));
                }
            }
            self.slots.push(last.1);
        }
        if let Some(nulls) = times.nulls().filter(|nulls| nulls.null_count() > 0) {
            let rows = self.slots.iter_mut().zip(nulls);
            rows.filter(|(_, is_valid)| !is_valid)
                .for_each(|(slot, _)| *slot = NOWHERE);
            missed = true;
        }
        missed
    }
}
