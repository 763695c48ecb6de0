//! The first phase of sessions, before an exchange.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take_arrays,
};

use super::{
    columns,
    local::{Behind, Local},
    source::Source,
};
use crate::{
    Result,
    operators::{Delta, Operator, Output, Time, aggregate::merger::Merger},
};

/// Sends the sessions of each epoch on; keeps nothing. What is late only the final phase knows, which has the other
/// sessions.
pub(in crate::operators::aggregate) struct PartialSessions {
    merger: Merger,
    source: Source,
    local: Local,
    /// Whether the final phase may be ahead of this one.
    lags: bool,
}

impl PartialSessions {
    pub fn new(merger: Merger, source: Source) -> Result<Self> {
        Ok(PartialSessions {
            source,
            local: Local::new(&merger)?,
            merger,
            lags: false,
        })
    }
}

impl Operator for PartialSessions {
    fn push(&mut self, _: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        let pieces = self.source.pieces(rows, time.now, self.merger.functions(), out)?;
        let judged = if self.lags { i64::MAX } else { time.watermark };
        self.local.add(pieces, Behind::Alone(judged))
    }

    fn lag_behind(&mut self, lags: bool) {
        self.lags = lags;
    }

    fn end_epoch(&mut self, _: Time, out: &mut Output) -> Result<()> {
        let local = self.local.seal()?;
        if local.sessions.is_empty() {
            return Ok(());
        }
        let (keys, spans): (Vec<u32>, Vec<_>) = local.sessions.into_iter().unzip();
        let (starts, ends) = columns(&spans);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(starts), Arc::new(ends)];
        columns.extend(take_arrays(&local.keys, &UInt32Array::from(keys), None)?);
        columns.extend(local.states);
        out.rows
            .push(RecordBatch::try_new(Arc::clone(&self.merger.layout().output), columns)?);
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &Delta) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.local.size()
    }
}
