//! The groups of a pane, as they came: a run for each epoch, merged when there are many.
use arrow::array::RecordBatch;

use super::merger::Merger;
use crate::Result;

/// So many runs of like size become one.
const FAN_IN: usize = 8;

/// Batches of groups (keys and states), the oldest first. A key stands at most once in each, like in the levels of a
/// log-structured merge tree (O'Neil et al., Acta Informatica 33, 1996), of which these are the upper ones.
#[derive(Default)]
pub(super) struct Runs(Vec<RecordBatch>);

impl Runs {
    /// Adds the groups of an epoch.
    pub fn push(&mut self, run: RecordBatch, merger: &mut Merger) -> Result<()> {
        self.0.push(run);
        let mut rows = 0;
        let older = self.0.iter().rev().take_while(|run| {
            let is_like = rows == 0 || run.num_rows() <= 2 * rows;
            rows += run.num_rows();
            is_like
        });
        let like = older.count();
        if like >= FAN_IN {
            let merged = merger.states(&self.0[self.0.len() - like..])?;
            self.0.truncate(self.0.len() - like);
            self.0.push(merged);
        }
        Ok(())
    }

    /// Puts back a run as it was.
    pub fn put_back(&mut self, run: RecordBatch) {
        self.0.push(run);
    }

    pub fn iter(&self) -> impl Iterator<Item = &RecordBatch> {
        self.0.iter()
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.0.iter().map(RecordBatch::get_array_memory_size).sum()
    }
}
