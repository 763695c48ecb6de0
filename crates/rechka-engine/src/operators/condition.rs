//! What must be true of two rows side by side.
use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use rechka_sql::plan::Expr;

use super::expressions::{self, Narrowed};
use crate::Result;

/// A condition over the columns of a left row followed by those of a right one.
pub(super) struct Condition {
    expressions: Vec<Expr>,
    /// The columns that it needs.
    pub columns: Vec<usize>,
    /// Their schema.
    pub schema: SchemaRef,
}

impl Condition {
    pub fn new(condition: Expr, left: &Schema, right: &Schema) -> Result<Self> {
        let Narrowed { columns, expressions } = Narrowed::new(&[condition])?;
        let fields = left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields).project(&columns)?);
        Ok(Self {
            expressions,
            columns,
            schema,
        })
    }

    /// Whether it is true, for each row of these batches (of the columns that it needs).
    pub fn holds(&self, batches: &[RecordBatch]) -> Result<Vec<bool>> {
        let mut holds = Vec::new();
        for rows in batches {
            for condition in &self.expressions {
                holds.extend(
                    expressions::condition(condition, rows)?
                        .iter()
                        .map(|holds| holds == Some(true)),
                );
            }
        }
        Ok(holds)
    }
}
