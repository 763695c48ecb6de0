//! Groups merged from states.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    compute::concat,
};

use super::{
    functions::{Accumulators, Functions},
    groups::batch,
    keys::Keys,
    layout::Layout,
    panes::Span,
};
use crate::{Result, operators::expressions::timestamps};

/// Keys, results, and the number of groups.
pub(super) type Results = (Vec<ArrayRef>, Vec<ArrayRef>, usize);

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

    /// The groups of all `runs` with their results. Within a run no key stands twice.
    pub fn results(&mut self, runs: &[RecordBatch]) -> Result<Results> {
        let (keys, mut accumulators, count) = self.merge(runs)?;
        Ok((keys, accumulators.results()?, count))
    }

    /// Rows of the output from results, with the window of each, in microseconds.
    pub fn rows(&self, starts: Int64Array, ends: Int64Array, results: Results) -> Result<RecordBatch> {
        let (mut columns, results, count) = results;
        if let Some(time) = &self.layout.time {
            for bounds in [starts, ends] {
                columns.push(timestamps(&bounds, time)?);
            }
        }
        columns.extend(results);
        batch(&self.layout.output, columns, count)
    }

    /// Rows of the output from the results of one window.
    pub fn rows_of(&self, window: Span, results: Results) -> Result<RecordBatch> {
        let [starts, ends] = [window.start, window.end].map(|bound| Int64Array::from_value(bound, results.2));
        self.rows(starts, ends, results)
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
