//! Groups merged from states.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    compute::{concat, concat_batches},
};

use super::{
    functions::{Accumulators, Functions},
    groups::batch,
    keys::Keys,
    layout::Layout,
    panes::Span,
};
use crate::{
    EngineError, Result,
    operators::{Dead, expressions::timestamps, work_on},
};

/// The windows of groups.
#[derive(Clone, Copy)]
pub(super) enum Spans<'a> {
    /// The same for all.
    One(Span),
    /// Of each its own.
    Each(&'a [Span]),
}

impl Spans<'_> {
    /// Those of the groups from this one on.
    fn from(self, first: usize) -> Self {
        match self {
            Spans::One(window) => Spans::One(window),
            Spans::Each(windows) => Spans::Each(&windows[first..]),
        }
    }
}

/// Merges groups (keys and states) of equal keys.
pub(super) struct Merger {
    layout: Layout,
    functions: Arc<Functions>,
    /// Those of the runs at hand; kept because of their room.
    keys: Keys,
}

impl Merger {
    pub fn new(layout: Layout, functions: Arc<Functions>) -> Result<Self> {
        let keys = Keys::new(&layout.keys)?;
        Ok(Merger {
            layout,
            functions,
            keys,
        })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// The groups of all `runs` with their states. Within a run no key stands twice.
    pub fn states(&mut self, runs: &[RecordBatch]) -> Result<RecordBatch> {
        let (keys, mut accumulators, count) = self.merge(runs)?;
        let columns = keys.into_iter().chain(accumulators.states()?).collect();
        batch(&self.layout.groups, columns, count)
    }

    /// The states of `count` groups, each merged from the states of which `old_groups` and `new_groups` have its
    /// number.
    pub fn combine(
        &self,
        old: &[ArrayRef],
        old_groups: &[usize],
        new: &[ArrayRef],
        new_groups: &[usize],
        count: usize,
    ) -> Result<Vec<ArrayRef>> {
        let mut accumulators = Accumulators::new(Arc::clone(&self.functions))?;
        if old_groups.is_empty() {
            accumulators.merge(new, new_groups, count)?;
        } else {
            // In one piece, so that each group has a state in it.
            let pairs = old.iter().zip(new);
            let states = pairs
                .map(|(old, new)| Ok(concat(&[old, new])?))
                .collect::<Result<Vec<_>>>()?;
            accumulators.merge(&states, &[old_groups, new_groups].concat(), count)?;
        }
        accumulators.states()
    }

    /// Rows of the output for the groups of all `runs`, which are of these windows. Within a run no key stands twice. A group whose
    /// result can't be computed (an average that is too large for its type) is left out.
    pub fn put_out(&mut self, windows: Spans<'_>, runs: &[RecordBatch], dead: &mut Vec<Dead>) -> Result<RecordBatch> {
        match self.results(windows, runs) {
            Err(EngineError::Expression(_)) => {}
            rows => return rows,
        }
        let groups = self.states(runs)?;
        let mut rows = Vec::new();
        let failing = work_on(&groups, |first, part| {
            rows.push(self.results(windows.from(first), std::slice::from_ref(part))?);
            Ok(())
        })?;
        for (group, reason) in failing {
            let mut keys = groups.slice(group, 1).columns().to_vec();
            keys.truncate(self.layout.keys.fields().len());
            let columns = self.with_windows(keys, windows.from(group), 1)?;
            let schema = self.layout.output.project(&(0..columns.len()).collect::<Vec<_>>())?;
            dead.push(Dead {
                row: batch(&Arc::new(schema), columns, 1)?,
                reason,
            });
        }
        Ok(concat_batches(&self.layout.output, &rows)?)
    }

    fn results(&mut self, windows: Spans<'_>, runs: &[RecordBatch]) -> Result<RecordBatch> {
        let (keys, mut accumulators, count) = self.merge(runs)?;
        let mut columns = self.with_windows(keys, windows, count)?;
        columns.extend(accumulators.results()?);
        batch(&self.layout.output, columns, count)
    }

    /// Puts the columns of the windows behind the keys of so many groups, if the result has them.
    fn with_windows(&self, mut keys: Vec<ArrayRef>, windows: Spans<'_>, count: usize) -> Result<Vec<ArrayRef>> {
        if let Some(time) = &self.layout.time {
            for bound in [|window: &Span| window.start, |window: &Span| window.end] {
                let bounds = match windows {
                    Spans::One(window) => Int64Array::from_value(bound(&window), count),
                    Spans::Each(windows) => Int64Array::from_iter_values(windows[..count].iter().map(bound)),
                };
                keys.push(timestamps(&bounds, time)?);
            }
        }
        Ok(keys)
    }

    fn merge(&mut self, runs: &[RecordBatch]) -> Result<(Vec<ArrayRef>, Accumulators, usize)> {
        let width = self.layout.keys.fields().len();
        let mut accumulators = Accumulators::new(Arc::clone(&self.functions))?;
        let mut groups = Vec::new();
        if let [run] = runs {
            let (own, states) = run.columns().split_at(width);
            groups.extend(0..run.num_rows());
            accumulators.merge(states, &groups, run.num_rows())?;
            return Ok((own.to_vec(), accumulators, run.num_rows()));
        }
        for run in runs {
            let (own, states) = run.columns().split_at(width);
            self.keys.intern(own, run.num_rows(), &mut groups)?;
            accumulators.merge(states, &groups, self.keys.len())?;
        }
        let count = self.keys.len();
        Ok((self.keys.take()?, accumulators, count))
    }
}
