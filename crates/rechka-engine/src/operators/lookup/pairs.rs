//! Rows of the stream side by side with the table's.
use super::{
    super::{condition::Condition, kept::Chosen},
    table::Table,
};
use crate::Result;
use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt32Array},
    compute::take,
    datatypes::SchemaRef,
    error::ArrowError,
};

/// Rows of a stream, each with the number of the table's row that belongs to it, if there is one.
pub(super) struct Pairs<'a> {
    pub rows: &'a RecordBatch,
    pub table: &'a Table,
    pub partners: &'a [Option<u32>],
}

impl Pairs<'_> {
    /// The rows that have a partner.
    pub fn with_partner(&self) -> Vec<u32> {
        (0..)
            .zip(self.partners)
            .filter(|(_, partner)| partner.is_some())
            .map(|(row, _)| row)
            .collect()
    }

    /// The rows that have a partner, but one for which the condition is not true.
    pub fn failing(&self, condition: &Condition) -> Result<Vec<u32>> {
        let with_partner = self.with_partner();
        let holds = condition.holds(&self.rows(&with_partner, &condition.columns, &condition.schema)?)?;
        Ok(with_partner
            .into_iter()
            .zip(holds)
            .filter(|(_, holds)| !holds)
            .map(|(row, _)| row)
            .collect())
    }

    /// Columns of some of the rows, counted from the stream's first one on through the table's. One batch, or several if the
    /// strings in it would be longer than Arrow allows.
    pub fn rows(&self, chosen: &[u32], columns: &[usize], schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
        match self.batch(chosen, columns, schema) {
            Err(ArrowError::OffsetOverflowError(_)) if chosen.len() > 1 => {
                let (first, second) = chosen.split_at(chosen.len() / 2);
                let mut batches = self.rows(first, columns, schema)?;
                batches.extend(self.rows(second, columns, schema)?);
                Ok(batches)
            }
            batch => Ok(vec![batch?]),
        }
    }

    fn batch(&self, chosen: &[u32], columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let all = chosen.len() == self.rows.num_rows();
        let numbers = UInt32Array::from(chosen.to_vec());
        let mut table = Chosen::default();
        table.add(self.table.rows());
        let partner = |row: &u32| self.partners[*row as usize].map(|partner| table.place(0, partner));
        let partners: Vec<_> = chosen.iter().map(partner).collect();
        let columns = columns
            .iter()
            .map(|column| match column.checked_sub(self.rows.num_columns()) {
                // All rows, in order: nothing to copy.
                None if all => Ok(self.rows.column(*column).clone()),
                None => take(self.rows.column(*column), &numbers, None),
                Some(column) => table.column_or_null(column, self.table.schema().field(column).data_type(), &partners),
            });
        let options = RecordBatchOptions::new().with_row_count(Some(chosen.len()));
        RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
    }
}
