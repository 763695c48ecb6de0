//! All rows of several inputs.
use arrow::{array::RecordBatch, datatypes::SchemaRef};

use super::{Time, stateless::Transform};
use crate::Result;

/// Gives the rows of every input the columns' names of the first.
pub(super) struct Union {
    pub schema: SchemaRef,
}

impl Transform for Union {
    fn transform(&self, rows: &RecordBatch, _time: Time, _late: &mut Vec<RecordBatch>) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?)
    }

    fn origins(&self, rows: &RecordBatch, _time: Time) -> Result<Option<Vec<u32>>> {
        Ok(Some((0..rows.num_rows() as u32).collect()))
    }
}
