//! The state of a stage in the log.
//!
//! Topic `<query>.<stage>.state`, a partition for each task. An epoch appends the changes of its operators' state, or, from time to
//! time, the whole state: a *snapshot*, before which everything is deleted. The state of an epoch may take several records
//! (`chunks`), of one transaction. Each has a header that says what it is, and a piece of the body:
//!
//! ```text
//! header "rechka.state": JSON { version, fingerprint, epoch, snapshot, chunk, chunks, offsets, tables, files, inputs, told, nodes }
//! body: for each change: u32 node | u32 kind | u64 length | Arrow IPC stream | pad to 16      (numbers little-endian)
//! ```
//!
//! `fingerprint` tells the state from that of another query under the same name.
//! `offsets` are those that the epoch commits for its inputs. They are in the same transaction, so recovery compares them, and says so
//! if they should ever differ.
mod entry;

use std::sync::Arc;

use rechka_log::{Append, Log, Offset, TopicPartition};
use serde::{Deserialize, Serialize};

use super::{appender::Appender, watermark::Watermark};
use crate::{Result, operators::Delta};

use entry::{CHUNK_BYTES, HEADER, Header, VERSION, encode};
pub(super) use entry::{Entry, Reading};

/// What a task knows besides its operators' state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Number of the epoch.
    pub epoch: u64,
    /// The next offset of each topic.
    pub offsets: Vec<Offset>,
    /// The next offset of each partition of each table.
    pub tables: Vec<Vec<Offset>>,
    /// The fingerprint of each file that is a table.
    pub files: Vec<u64>,
    /// What the sources of each input said about time.
    pub inputs: Vec<Vec<Watermark>>,
    /// Whether the records of each input announce watermarks.
    pub told: Vec<bool>,
    /// The watermark of each node.
    pub nodes: Vec<i64>,
}

/// The changelog of one task.
pub(super) struct Changelog {
    partition: TopicPartition,
    /// Of the stage.
    fingerprint: u64,
    /// Bytes since the last snapshot, and of that.
    since_snapshot: usize,
    last_snapshot: usize,
    /// Fewer bytes are not worth a snapshot.
    least: usize,
    /// Where the snapshot of the current epoch begins.
    begins: Option<Offset>,
}

impl Changelog {
    /// `least`: bytes of changes before there is a snapshot.
    pub fn new(partition: TopicPartition, fingerprint: u64, least: usize) -> Self {
        Changelog {
            partition,
            fingerprint,
            since_snapshot: 0,
            last_snapshot: 0,
            least,
            begins: None,
        }
    }

    /// Whether reading the changes again would take so long that the next epoch should write the whole state. So recovery
    /// reads at most about twice the state, and a snapshot costs at most as much as the changes before it.
    pub fn wants_snapshot(&self) -> bool {
        self.since_snapshot > self.last_snapshot.max(self.least)
    }

    /// What an epoch appends.
    pub fn append(
        &mut self,
        log: &dyn Log,
        progress: Progress,
        deltas: &[(usize, Delta)],
        snapshot: bool,
        now: i64,
    ) -> Result<Vec<Append>> {
        let body = encode(deltas)?;
        let mut appender = Appender::new(self.partition.clone());
        let chunks = body.len().div_ceil(CHUNK_BYTES).max(1);
        let mut header = Header {
            version: VERSION,
            fingerprint: self.fingerprint,
            snapshot,
            chunk: 0,
            chunks,
            progress,
        };
        for chunk in 0..chunks {
            header.chunk = chunk;
            // A struct of numbers and lists can always be written.
            let text = serde_json::to_vec(&header).unwrap_or_default();
            let part = &body[chunk * CHUNK_BYTES..body.len().min((chunk + 1) * CHUNK_BYTES)];
            appender.push(None, part, now, &[(HEADER, &text)])?;
            self.since_snapshot += part.len() + text.len();
        }
        if snapshot {
            (self.last_snapshot, self.since_snapshot) = (body.len(), 0);
            // Only this task writes here, so the snapshot comes next.
            self.begins = Some(log.offsets(&self.partition)?.end);
        }
        Ok(appender.finish())
    }

    /// The epoch is durable: what a snapshot replaces can go.
    pub fn committed(&mut self, log: &dyn Log) -> Result<()> {
        match self.begins.take() {
            Some(begins) => Ok(log.delete_before(&self.partition, begins)?),
            None => Ok(()),
        }
    }

    /// An entry was read.
    pub fn count(&mut self, entry: &Entry) {
        match entry.snapshot {
            true => (self.last_snapshot, self.since_snapshot) = (entry.bytes, 0),
            false => self.since_snapshot += entry.bytes,
        }
    }
}

/// The topic of the changelog of a stage.
pub(crate) fn topic(query: &str, stage: usize) -> Arc<str> {
    format!("{query}.{stage}.state").into()
}
