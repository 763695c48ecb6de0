//! Aggregation, in two levels.
//!
//! The rows of an epoch go into fresh accumulators, by pane and key (`groups`). At its end their states become a
//! batch: that batch is the delta of the changelog, it is what goes through an exchange (`partial`), and it is what is
//! kept:
//!
//! - `window`: until the watermark closes the window, as a list of such batches that is merged like an LSM tree.
//!   State that is restored is state as it was: nothing is hashed.
//! - `session`: merged into the open sessions.
//! - `keyed`: merged into totals by key, of which those that changed are written again.
//!
//! A row without event time belongs to no window: it goes to the late rows, without a window.
mod deltas;
mod functions;
mod groups;
mod intake;
mod keyed;
mod keys;
mod late;
mod layout;
mod merger;
mod panes;
mod partial;
mod partials;
mod rows;
mod runs;
mod session;
mod store;
mod window;

use arrow::datatypes::SchemaRef;
use rechka_sql::plan::{self, Aggregate, Emit, Phase, Window};

use self::{
    functions::Functions, groups::Groups, intake::Intake, keyed::Keyed, layout::Layout, merger::Merger, panes::Windows,
    partial::Partial, window::Append,
};
use super::Operator;
use crate::{EngineError, Result};

/// The operator of an aggregation whose input and output have these columns.
pub fn build(aggregate: &Aggregate, input: &SchemaRef, output: &SchemaRef) -> Result<Box<dyn Operator>> {
    let functions = Functions::new(&aggregate.columns)?;
    let layout = Layout::new(aggregate, &functions, output)?;
    if let plan::Groups::Windows {
        time,
        window: Window::Session { gap },
    } = aggregate.groups
    {
        let source = session::Source::new(aggregate, time, gap)?;
        let merger = Merger::new(layout, functions)?;
        return Ok(match (aggregate.phase, aggregate.emit) {
            (Phase::Partial, _) => Box::new(session::PartialSessions::new(merger, source)?),
            (_, Emit::Append) => Box::new(session::Sessions::new(merger, time.is_none(), source)?),
            _ => {
                return Err(EngineError::Query(
                    "sessions may still merge, so they are written when they end: use mode 'append'".into(),
                ));
            }
        });
    }
    let windows = match aggregate.groups {
        plan::Groups::Keys => None,
        plan::Groups::Carried { .. } => Some(Windows::Carried),
        plan::Groups::Windows { window, .. } => Some(Windows::new(window)?),
    };
    let groups = Groups::new(&layout.keys, &functions)?;
    let merger = || Merger::new(layout.clone(), functions.clone());
    let intake = Intake::new(aggregate, input, windows, merger)?;
    let by_clock = matches!(aggregate.groups, plan::Groups::Windows { time: None, .. });
    // Without keys and windows there is one group, though no row may ever come; the final phase has it from the
    // partial one.
    let announce = aggregate.keys.is_empty() && windows.is_none() && aggregate.phase != Phase::Final;
    if aggregate.phase == Phase::Partial {
        return Ok(Box::new(Partial::new(layout, intake, groups, announce)));
    }
    match (aggregate.emit, windows) {
        (Emit::Append, Some(windows)) => Ok(Box::new(Append::new(merger()?, windows, by_clock, intake, groups))),
        (Emit::Append, None) => Err(EngineError::Query(
            "groups that never end are never complete: use mode 'update', or group by a window".into(),
        )),
        (emit, windows) => Ok(Box::new(Keyed::new(
            merger()?,
            windows,
            by_clock,
            announce,
            emit,
            intake,
            groups,
        ))),
    }
}

#[cfg(test)]
mod tests;
