//! From a row in the middle of a stage back to the row of the input that it was made of. Nothing is kept for each row: when one fails,
//! the operators on its way are asked again, over the batches that they were given.
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{
    Result,
    operators::{Operator, Time},
};

/// Where a batch comes from.
#[derive(Clone)]
pub(super) struct Trail {
    from: Place,
    /// The number of its first row there.
    first: usize,
}

#[derive(Clone)]
enum Place {
    /// From many rows, or from a place where nobody asks.
    Nowhere,
    /// It is the input's batch.
    Input,
    /// An operator put it out.
    Step(Arc<Step>),
}

struct Step {
    node: usize,
    /// What the operator was given.
    rows: RecordBatch,
    time: Time,
    before: Trail,
}

impl Trail {
    pub const NOWHERE: Trail = Trail {
        from: Place::Nowhere,
        first: 0,
    };
    pub const INPUT: Trail = Trail {
        from: Place::Input,
        first: 0,
    };

    /// Of the rows from this one on.
    pub fn skip(&self, first: usize) -> Self {
        Trail {
            from: self.from.clone(),
            first: self.first + first,
        }
    }

    /// Of what an operator makes of rows with this trail.
    pub fn behind(&self, node: usize, rows: &RecordBatch, time: Time) -> Self {
        let from = match self.from {
            Place::Nowhere => Place::Nowhere,
            Place::Input | Place::Step(_) => Place::Step(Arc::new(Step {
                node,
                rows: rows.clone(),
                time,
                before: self.clone(),
            })),
        };
        Trail { from, first: 0 }
    }

    /// The rows of the input that these were made of, where that can be told. `operator` gives that of a node.
    pub fn origins<'a>(
        &self,
        rows: &[usize],
        operator: &dyn Fn(usize) -> &'a dyn Operator,
    ) -> Result<Vec<Option<usize>>> {
        let here = rows.iter().map(|row| self.first + row);
        let unknown = || vec![None; rows.len()];
        match &self.from {
            Place::Nowhere => Ok(unknown()),
            Place::Input => Ok(here.map(Some).collect()),
            Place::Step(step) => match operator(step.node).origins(&step.rows, step.time)? {
                None => Ok(unknown()),
                Some(origins) => {
                    let before = here.map(|row| origins.get(row).map(|origin| *origin as usize));
                    match before.collect::<Option<Vec<_>>>() {
                        Some(before) => step.before.origins(&before, operator),
                        None => Ok(unknown()),
                    }
                }
            },
        }
    }
}
