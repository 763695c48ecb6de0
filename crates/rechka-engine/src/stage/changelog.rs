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
use std::{sync::Arc, time::Duration};

use arrow::buffer::Buffer;
use rechka_log::{Append, Log, Offset, RecordRef, TopicPartition};
use serde::{Deserialize, Serialize};

use super::{appender::Appender, ipc, watermark::Watermark};
use crate::{EngineError, Result, operators::Delta};

/// The format written.
const VERSION: u32 = 4;
/// Header with what a record is.
const HEADER: &str = "rechka.state";
/// Bytes of the body in one record.
const CHUNK_BYTES: usize = 4 << 20;
/// Bodies begin and changes are aligned at multiples of this, so that Arrow reads them where they are.
const ALIGNMENT: usize = 16;
/// How long to wait for records that the log says are there.
const WAIT: Duration = Duration::from_millis(100);

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

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    fingerprint: u64,
    snapshot: bool,
    chunk: usize,
    chunks: usize,
    #[serde(flatten)]
    progress: Progress,
}

/// What one epoch did to the state.
pub(super) struct Entry {
    /// Of the stage that made it.
    pub fingerprint: u64,
    pub progress: Progress,
    /// Whether what was before does not count any more.
    pub snapshot: bool,
    /// Changes, with the numbers of their nodes.
    pub deltas: Vec<(usize, Delta)>,
    /// When it was written, in milliseconds since 1970.
    pub written: i64,
    /// Its size in the log.
    pub bytes: usize,
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

    /// Reads all entries, from the oldest.
    pub fn read(&mut self, log: &dyn Log, mut take: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        let offsets = log.offsets(&self.partition)?;
        let mut reader = log.read(vec![(self.partition.clone(), offsets.start)])?;
        let mut next = offsets.start;
        let mut pending: Option<Vec<u8>> = None;
        while next < offsets.end {
            // What lies before the end is there; None: only holes follow.
            let Some(fetched) = reader.poll(WAIT)? else {
                if reader.is_at_end() {
                    break;
                }
                continue;
            };
            next = fetched.next_offset();
            for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
                let header = header(&record).map_err(|reason| self.damaged(offset, reason))?;
                let last = header.chunk + 1 == header.chunks;
                if header.chunk == 0 {
                    pending = Some(Vec::with_capacity(record.value.len()));
                }
                // Chunks before the first are what is left of an entry that a snapshot replaced.
                let Some(body) = &mut pending else {
                    continue;
                };
                body.extend_from_slice(record.value);
                if let Some(body) = pending.take_if(|_| last) {
                    let bytes = body.len();
                    let deltas = decode(body).map_err(|reason| self.damaged(offset, reason))?;
                    let entry = Entry {
                        fingerprint: header.fingerprint,
                        progress: header.progress,
                        snapshot: header.snapshot,
                        deltas,
                        written: record.timestamp,
                        bytes,
                    };
                    self.count(&entry);
                    take(entry)?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, entry: &Entry) {
        match entry.snapshot {
            true => (self.last_snapshot, self.since_snapshot) = (entry.bytes, 0),
            false => self.since_snapshot += entry.bytes,
        }
    }

    fn damaged(&self, offset: Offset, reason: String) -> EngineError {
        EngineError::State {
            topic: self.partition.topic.to_string(),
            key: format!("partition {}", self.partition.partition),
            reason: format!("at offset {offset} {reason}"),
        }
    }
}

fn header(record: &RecordRef<'_>) -> std::result::Result<Header, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = record.header(HEADER).ok_or("it is no state of a query")?;
    let Version { version } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this program writes version {VERSION}"
        ));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

fn encode(deltas: &[(usize, Delta)]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for (node, delta) in deltas {
        let start = body.len();
        body.extend_from_slice(&(*node as u32).to_le_bytes());
        body.extend_from_slice(&u32::from(delta.kind).to_le_bytes());
        body.extend_from_slice(&[0; 8]);
        ipc::encode(&delta.rows, &mut body)?;
        let length = (body.len() - start - 16) as u64;
        body[start + 8..start + 16].copy_from_slice(&length.to_le_bytes());
        body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
    }
    Ok(body)
}

fn decode(body: Vec<u8>) -> std::result::Result<Vec<(usize, Delta)>, String> {
    let body = Buffer::from_vec(body);
    let mut deltas = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let frame = body.get(at..at + 16).ok_or("it is cut off")?;
        let number = |range: std::ops::Range<usize>| {
            frame[range]
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (node, kind, length) = (number(0..4) as usize, number(4..8), number(8..16));
        let kind = u8::try_from(kind).map_err(|_| format!("there is no change of kind {kind}"))?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= body.len() - at - 16);
        let length = length.ok_or("it is cut off")?;
        let rows = ipc::decode(body.slice_with_length(at + 16, length)).map_err(|error| error.to_string())?;
        deltas.push((node, Delta { kind, rows }));
        at += (16 + length).next_multiple_of(ALIGNMENT);
    }
    Ok(deltas)
}

/// The topic of the changelog of a stage.
pub(crate) fn topic(query: &str, stage: usize) -> Arc<str> {
    format!("{query}.{stage}.state").into()
}
