//! What an aggregation reads: rows, or the partial aggregates of the stage before.
use arrow::{
    array::{BooleanArray, RecordBatch},
    datatypes::SchemaRef,
};
use rechka_sql::plan::{Aggregate, Phase};

use super::{
    groups::{Groups, Slot},
    merger::Merger,
    panes::{FOREVER, Pane, Windows},
    partials::Partials,
    rows::Rows,
};
use crate::{
    Result,
    operators::{Output, Time},
};

/// The slot of what counts in no window.
pub(super) const NOWHERE: Slot = Slot::MAX;

/// Brings what is read into the groups of the epoch.
pub(super) enum Intake {
    Rows(Rows),
    Partials(Partials),
}

impl Intake {
    /// `windows`: none if the groups never end.
    pub fn new(
        aggregate: &Aggregate,
        input: &SchemaRef,
        windows: Option<Windows>,
        merger: impl FnOnce() -> Result<Merger>,
    ) -> Result<Self> {
        Ok(match aggregate.phase {
            Phase::Single | Phase::Partial => Intake::Rows(Rows::new(aggregate, input, windows)?),
            Phase::Final => Intake::Partials(Partials::new(aggregate, windows, merger()?)),
        })
    }

    /// Takes a batch; what counts in no window any more goes to the late output.
    pub fn push(&mut self, rows: &RecordBatch, time: Time, groups: &mut Groups, out: &mut Output) -> Result<()> {
        match self {
            _ if rows.num_rows() == 0 => Ok(()),
            Intake::Rows(intake) => intake.push(rows, time, groups, out),
            Intake::Partials(intake) => intake.push(rows, time, groups, out),
        }
    }
}

/// Puts all rows in one pane.
pub(super) fn one_pane(rows: usize, pane: Option<Pane>, groups: &mut Groups, slots: &mut Vec<Slot>) {
    let slot = groups.slot(pane.unwrap_or(FOREVER));
    slots.clear();
    slots.resize(rows, slot);
}

/// Which rows have a slot; the others lose their places in `slots`.
pub(super) fn keep_placed(slots: &mut Vec<Slot>) -> BooleanArray {
    let placed = slots.iter().map(|&slot| Some(slot != NOWHERE)).collect();
    slots.retain(|&slot| slot != NOWHERE);
    placed
}
