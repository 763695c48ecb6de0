//! Numbers for keys.
use std::sync::Arc;

use arrow::{array::ArrayRef, datatypes::SchemaRef};
use datafusion::{
    logical_expr::EmitTo,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

use crate::Result;

/// Gives each key, a row of the key columns, a number: from 0, in the order in which keys are first seen.
/// Without key columns there is one key.
pub(super) struct Keys {
    values: Option<Box<dyn GroupValues>>,
    /// Whether the only key was seen, when there are no key columns.
    seen: bool,
}

impl Keys {
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(schema), &GroupOrdering::None)?),
        };
        Ok(Keys { values, seen: false })
    }

    /// Puts the numbers of `rows` keys into `numbers`.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize, numbers: &mut Vec<usize>) -> Result<()> {
        match &mut self.values {
            Some(values) => values.intern(columns, numbers)?,
            None => {
                self.seen |= rows > 0;
                numbers.clear();
                numbers.resize(rows, 0);
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.values
            .as_ref()
            .map_or(usize::from(self.seen), |values| values.len())
    }

    /// The keys in the order of their numbers.
    pub fn columns(&mut self) -> Result<Vec<ArrayRef>> {
        let count = self.len();
        let columns = self.take()?;
        // They can only be had by taking them out; and come back under the same numbers.
        self.intern(&columns, count, &mut Vec::new())?;
        Ok(columns)
    }

    /// The keys in the order of their numbers; none is left.
    pub fn take(&mut self) -> Result<Vec<ArrayRef>> {
        self.seen = false;
        let Some(values) = &mut self.values else {
            return Ok(Vec::new());
        };
        let count = values.len();
        let columns = values.emit(EmitTo::All)?;
        // Some don't forget what they have emitted before they are told to.
        values.clear_shrink(count);
        Ok(columns)
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.size())
    }
}
