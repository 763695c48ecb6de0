//! From the numbers of rows to the rows of pairs.
use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt32Array},
    compute::take,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use datafusion::{
    logical_expr::Operator,
    physical_expr::{conjunction, expressions::BinaryExpr},
};
use rechka_sql::plan::{self, Expr};

use super::super::{
    condition::Condition,
    expressions::with_columns,
    kept::{Chosen, Kept},
};
use crate::{EngineError, Result};

/// Two rows that may match: one that comes, and a kept one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub coming: u32,
    /// Number of the generation among those that are searched.
    pub source: u32,
    /// Number of the row in its generation.
    pub row: u32,
}

/// The rows that pairs are made of.
pub(super) struct Partners<'a> {
    coming: &'a RecordBatch,
    coming_is_left: bool,
    left_columns: usize,
    kept: Chosen<'a>,
}

impl<'a> Partners<'a> {
    pub fn new(
        coming: &'a RecordBatch,
        coming_is_left: bool,
        left_columns: usize,
        kept: impl Iterator<Item = &'a Kept>,
    ) -> Self {
        let mut chosen = Chosen::default();
        kept.for_each(|kept| {
            chosen.add(kept);
        });
        Self {
            coming,
            coming_is_left,
            left_columns,
            kept: chosen,
        }
    }

    /// Columns of pairs, counted from the first left one on through the right ones. One batch, or several if the strings in it
    /// would be longer than Arrow allows.
    pub fn rows(&self, pairs: &[Pair], columns: &[usize], schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
        match self.batch(pairs, columns, schema) {
            Err(ArrowError::OffsetOverflowError(_)) if pairs.len() > 1 => {
                let (first, second) = pairs.split_at(pairs.len() / 2);
                let mut batches = self.rows(first, columns, schema)?;
                batches.extend(self.rows(second, columns, schema)?);
                Ok(batches)
            }
            batch => Ok(vec![batch?]),
        }
    }

    /// Keeps the pairs for which the condition is true.
    pub fn retain(&self, pairs: &mut Vec<Pair>, condition: &Condition) -> Result<()> {
        let mut holds = condition
            .holds(&self.rows(pairs, &condition.columns, &condition.schema)?)?
            .into_iter();
        pairs.retain(|_| holds.next() == Some(true));
        Ok(())
    }

    fn batch(&self, pairs: &[Pair], columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let coming = UInt32Array::from_iter_values(pairs.iter().map(|pair| pair.coming));
        let kept: Vec<_> = pairs
            .iter()
            .map(|pair| self.kept.place(pair.source as usize, pair.row))
            .collect();
        let columns = columns.iter().map(|column| {
            let is_left = *column < self.left_columns;
            let column = if is_left { *column } else { *column - self.left_columns };
            match is_left == self.coming_is_left {
                true => take(self.coming.column(column), &coming, None),
                false => self.kept.column(column, &kept),
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
    }
}

/// What must be true of a pair besides its times: that the keys are equal (their hashes are), and the further condition.
pub(super) fn condition(join: &plan::Join, left: &Schema, right: &Schema) -> Result<Option<Condition>> {
    let left_columns = left.fields().len();
    let mut conditions = Vec::new();
    for (left_key, right_key) in &join.on {
        let types = (left_key.data_type(left)?, right_key.data_type(right)?);
        if types.0 != types.1 {
            let reason = format!(
                "the keys {left_key} and {right_key} have the types {} and {}",
                types.0, types.1
            );
            return Err(EngineError::Query(reason));
        }
        let right_key = with_columns(right_key, |column| column + left_columns)?;
        conditions.push(Arc::new(BinaryExpr::new(left_key.clone(), Operator::Eq, right_key)) as Expr);
    }
    conditions.extend(join.filter.clone());
    let is_empty = conditions.is_empty();
    (!is_empty)
        .then(|| Condition::new(conjunction(conditions), left, right))
        .transpose()
}
