//! A position in one partition, and what comes next from there.
use std::{collections::VecDeque, sync::Arc};

use super::{
    catalog::PartitionState,
    store::{Store, StoredBatch},
};
use crate::{Fetched, LogError, Offset, Result};

/// The largest offset that SQLite's integers hold.
pub(super) const LAST: Offset = i64::MAX as Offset;

/// Reads a partition in order: from memory what was just written, from the file what is older.
#[derive(Debug)]
pub(super) struct Cursor {
    partition: Arc<PartitionState>,
    /// Behind what `pending` holds.
    position: Offset,
    /// Runs of a sparse batch that are still to be given.
    pending: VecDeque<Fetched>,
}

enum Next {
    Nothing,
    Recent(Fetched),
    InFile,
}

impl Cursor {
    pub(super) fn new(partition: Arc<PartitionState>, position: Offset) -> Self {
        Self {
            partition,
            position: position.min(LAST),
            pending: VecDeque::new(),
        }
    }

    pub(super) fn partition(&self) -> &Arc<PartitionState> {
        &self.partition
    }

    pub(super) fn seek(&mut self, position: Offset) {
        self.position = position.min(LAST);
        self.pending.clear();
    }

    /// The next records, without waiting. `live`: this process is the writer, so memory knows the end of the partition.
    pub(super) fn fetch(&mut self, store: &Store, live: bool) -> Result<Option<Fetched>> {
        loop {
            if let Some(run) = self.pending.pop_front() {
                return Ok(Some(run));
            }
            if live {
                match self.look()? {
                    Next::Nothing => return Ok(None),
                    Next::Recent(fetched) => {
                        self.position = fetched.next_offset();
                        return Ok(Some(fetched));
                    }
                    Next::InFile => {}
                }
            } else {
                let start = store.start(self.partition.id)?;
                self.position = self.position.max(start.ok_or_else(|| self.gone())?);
            }
            let stored = store.batch_at(&self.partition, self.position).inspect_err(|error| {
                // It is told once; what lies behind can be read.
                if let LogError::Damaged { offsets, .. } = error {
                    self.position = offsets.end;
                }
            });
            match stored? {
                Some(stored) => {
                    let next = stored.next_offset;
                    self.pending = runs(&self.partition, stored, self.position);
                    self.position = next;
                }
                // Between the look and the read the records were deleted: look again.
                None if live && self.partition.lock().offsets.start > self.position => {}
                None if live => {
                    let missing = self.position..self.partition.lock().offsets.end;
                    self.position = missing.end;
                    return Err(LogError::Damaged {
                        from: self.partition.name.clone(),
                        offsets: missing,
                        reason: "no batch holds them".to_owned(),
                    });
                }
                None => return Ok(None),
            }
        }
    }

    /// What memory knows about the position.
    fn look(&mut self) -> Result<Next> {
        let state = self.partition.lock();
        if state.deleted {
            return Err(self.gone());
        }
        self.position = self.position.max(state.offsets.start);
        if self.position >= state.offsets.end {
            return Ok(Next::Nothing);
        }
        let after = state.recent.partition_point(|(base, _)| *base <= self.position);
        let Some((base, batch)) = after.checked_sub(1).and_then(|at| state.recent.get(at)) else {
            return Ok(Next::InFile);
        };
        let skip = (self.position - base) as usize;
        if skip >= batch.len() {
            return Ok(Next::InFile);
        }
        Ok(Next::Recent(Fetched {
            from: self.partition.name.clone(),
            base_offset: self.position,
            batch: batch.slice(skip..batch.len()),
        }))
    }

    fn gone(&self) -> LogError {
        LogError::UnknownTopic(self.partition.name.topic.to_string())
    }
}

/// The records of a stored batch from `position` on, as runs without holes.
fn runs(partition: &PartitionState, stored: StoredBatch, position: Offset) -> VecDeque<Fetched> {
    let fetched = |base_offset, records| Fetched {
        from: partition.name.clone(),
        base_offset,
        batch: stored.batch.slice(records),
    };
    let Some(deltas) = &stored.deltas else {
        let first = position.max(stored.base_offset);
        let skip = (first - stored.base_offset) as usize;
        return [fetched(first, skip..stored.batch.len())].into();
    };
    let mut runs = VecDeque::new();
    let mut start = (0..deltas.len())
        .find(|&index| stored.offset(index) >= position)
        .unwrap_or(deltas.len());
    while start < deltas.len() {
        let mut end = start + 1;
        while end < deltas.len() && deltas[end] == deltas[end - 1] + 1 {
            end += 1;
        }
        runs.push_back(fetched(stored.offset(start), start..end));
        start = end;
    }
    runs
}
