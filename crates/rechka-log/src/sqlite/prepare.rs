//! What a producer's thread does before the writer thread sees its records.
use super::{blob::Blob, queue::Part, shared::Shared};
use crate::{Append, Batch, Cleanup, LogError, Result};

/// Checks and compresses what is to be appended.
pub(super) fn prepare(shared: &Shared, appends: Vec<Append>) -> Result<Vec<Part>> {
    let part = |append: Append| {
        let partition = shared.partition(&append.to)?;
        let batch = append.batch;
        let Some(max_timestamp) = max_timestamp(&batch) else {
            return Err(LogError::Invalid(format!("the batch for {} has no records", append.to)));
        };
        if partition.cleanup == Cleanup::Compact && batch.iter().any(|record| record.key.is_none()) {
            return Err(LogError::Invalid(format!(
                "{} is compacted: every record needs a key",
                append.to
            )));
        }
        Ok(Part {
            max_timestamp,
            blob: Blob::compress(&batch)?,
            partition,
            batch,
        })
    };
    appends.into_iter().map(part).collect()
}

/// The latest timestamp of a batch that is not empty.
pub(super) fn max_timestamp(batch: &Batch) -> Option<i64> {
    let timestamps = batch.timestamps();
    let timestamps = timestamps.chunks_exact(8).map(|timestamp| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(timestamp);
        i64::from_le_bytes(bytes)
    });
    timestamps.max()
}
