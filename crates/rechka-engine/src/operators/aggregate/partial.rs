//! The first phase, before an exchange: the partial aggregates of each epoch.
use arrow::array::RecordBatch;

use super::{groups::Groups, intake::Intake, layout::Layout};
use crate::{
    Result,
    operators::{Delta, Operator, Output, Time},
};

/// Sends the groups of each epoch on; keeps nothing.
pub(super) struct Partial {
    layout: Layout,
    intake: Intake,
    groups: Groups,
    /// Whether the only group, of an aggregation without keys and windows, must be sent although no row came.
    announce: bool,
}

impl Partial {
    /// `announce`: there is one group, and it exists from the beginning.
    pub fn new(layout: Layout, intake: Intake, groups: Groups, announce: bool) -> Self {
        Partial {
            layout,
            intake,
            groups,
            announce,
        }
    }
}

impl Operator for Partial {
    fn push(&mut self, _: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        self.intake.push(rows, time, &mut self.groups, out)
    }

    fn end_epoch(&mut self, _: Time, out: &mut Output) -> Result<()> {
        if std::mem::take(&mut self.announce) {
            self.groups.touch()?;
        }
        out.rows
            .extend(self.groups.seal()?.whole(&self.layout.output, self.layout.spans)?);
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &Delta) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.groups.size()
    }
}
