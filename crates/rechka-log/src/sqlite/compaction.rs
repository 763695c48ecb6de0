//! Compaction of topics with [`Cleanup::Compact`]: of every key the last record is kept, of the others what is newer than
//! the last look.
//!
//! It reads in its own thread and gives the writer small replacements. Offsets stay; what is kept of several batches
//! becomes one batch with holes. The last batch of a partition is never touched, so that the partition's end stays.
//! Needs memory for the keys of one partition.
use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    blob::Blob,
    catalog::PartitionState,
    prepare::max_timestamp,
    queue::{Change, CompactedBatch, Replacement},
    shared::{Role, Shared},
    store::StoredBatch,
};
use crate::{BatchBuilder, Cleanup, MAX_BATCH_BYTES, Offset, OffsetRange, RecordRef, Result};

/// Stored bytes that must have come before a partition is worth another look.
const LEAST_DIRTY: u64 = 4 << 20;
/// Size of the batches that compaction writes, before compression.
const BATCH_BYTES: usize = 1 << 20;

/// Compacts from time to time until the other end of `stop` is dropped.
pub(super) fn run(shared: &Arc<Shared>, stop: &Receiver<()>, interval: Duration, tombstone_age: Duration) {
    while stop.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        // What fails (a full disk, a topic just deleted) is tried again next time.
        let _ = compact_all(shared, tombstone_age, LEAST_DIRTY);
    }
}

/// Compacts every partition in which at least so much is new, and at least as much as is old. One that fails (it is
/// damaged, or its topic was just deleted) does not keep the others from it: the first error comes at the end.
pub(super) fn compact_all(shared: &Shared, tombstone_age: Duration, least_dirty: u64) -> Result<()> {
    let Role::Writer { catalog, .. } = &shared.role else {
        return Ok(());
    };
    let mut result = Ok(());
    for topic in catalog.topics() {
        if topic.spec.cleanup != Cleanup::Compact {
            continue;
        }
        for partition in &topic.partitions {
            let (dirty, bytes) = {
                let state = partition.lock();
                (state.dirty, state.bytes)
            };
            if dirty >= least_dirty && 2 * dirty >= bytes {
                let compacted = compact(shared, partition, tombstone_age);
                if compacted.is_ok() {
                    let mut state = partition.lock();
                    state.dirty = state.dirty.saturating_sub(dirty);
                }
                result = result.and(compacted);
            }
        }
    }
    result
}

fn compact(shared: &Shared, partition: &Arc<PartitionState>, tombstone_age: Duration) -> Result<()> {
    let offsets = partition.lock().offsets.clone();
    let mut last_of_key: HashMap<Box<[u8]>, Offset> = HashMap::new();
    let mut last_batch = 0;
    walk(shared, partition, offsets.clone(), |stored| {
        last_batch = stored.base_offset;
        for (index, record) in stored.batch.iter().enumerate() {
            if let Some(key) = record.key {
                last_of_key.insert(key.into(), stored.offset(index));
            }
        }
        Ok(())
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(tombstone_age).as_millis() as i64;
    let kept = |offset: Offset, record: &RecordRef<'_>| {
        let last = record.key.and_then(|key| last_of_key.get(key));
        let tombstone = record.value.is_empty() && record.timestamp < old;
        offset >= offsets.start && last == Some(&offset) && !tombstone
    };
    let mut run = Run::default();
    let replace = |run: &mut Run| -> Result<()> {
        let Some(replacement) = std::mem::take(run).finish()? else {
            return Ok(());
        };
        shared
            .queue()?
            .change(Change::Replace(Arc::clone(partition), replacement))
    };
    walk(shared, partition, offsets.start..last_batch, |stored| {
        // The builder's bound on a batch is never reached: twice this is well below it.
        if run.builder.bytes() + stored.batch.bytes() > MAX_BATCH_BYTES / 2 {
            replace(&mut run)?;
        }
        run.add(&stored, kept)?;
        if run.builder.bytes() >= BATCH_BYTES {
            replace(&mut run)?;
        }
        Ok(())
    })?;
    replace(&mut run)
}

/// Reads the batches of a partition that start before the end of `offsets`.
fn walk(
    shared: &Shared,
    partition: &PartitionState,
    offsets: OffsetRange,
    mut visit: impl FnMut(StoredBatch) -> Result<()>,
) -> Result<()> {
    let mut position = offsets.start;
    while position < offsets.end {
        let stored = shared.store.batch_at(partition, position)?;
        let Some(stored) = stored.filter(|stored| stored.base_offset < offsets.end) else {
            break;
        };
        position = stored.next_offset;
        visit(stored)?;
    }
    Ok(())
}

/// What is kept of some batches that follow each other.
#[derive(Default)]
struct Run {
    old: Vec<OffsetRange>,
    builder: BatchBuilder,
    offsets: Vec<Offset>,
    dropped: bool,
}

impl Run {
    fn add(&mut self, stored: &StoredBatch, kept: impl Fn(Offset, &RecordRef<'_>) -> bool) -> Result<()> {
        self.old.push(stored.base_offset..stored.next_offset);
        for (index, record) in stored.batch.iter().enumerate() {
            let offset = stored.offset(index);
            if kept(offset, &record) {
                self.builder.push_record(&record)?;
                self.offsets.push(offset);
            } else {
                self.dropped = true;
            }
        }
        Ok(())
    }

    /// The replacement, unless there is nothing to win.
    fn finish(self) -> Result<Option<Replacement>> {
        let (Some(first), Some(last)) = (self.old.first(), self.old.last()) else {
            return Ok(None);
        };
        if !self.dropped && self.old.len() == 1 {
            return Ok(None);
        }
        let Some(&base) = self.offsets.first() else {
            return Ok(Some(Replacement {
                old: self.old,
                new: None,
            }));
        };
        let deltas = self.offsets.iter().map(|offset| u32::try_from(offset - base));
        let Ok(deltas) = deltas.collect() else {
            // Four billion records apart: they stay as they are.
            return Ok(None);
        };
        debug_assert!(first.start <= base);
        let batch = self.builder.finish();
        let new = CompactedBatch {
            offsets: base..last.end,
            deltas,
            max_timestamp: max_timestamp(&batch).unwrap_or(i64::MIN),
            blob: Blob::compress(&batch)?,
        };
        Ok(Some(Replacement {
            old: self.old,
            new: Some(new),
        }))
    }
}
