//! The entries of a changelog, as records.
use arrow::buffer::Buffer;
use rechka_log::{Fetched, Offset, RecordRef, TopicPartition};
use serde::{Deserialize, Serialize};

use super::Progress;
use crate::{EngineError, Result, operators::Delta, stage::ipc};

/// The format written.
pub(super) const VERSION: u32 = 4;
/// Header with what a record is.
pub(super) const HEADER: &str = "rechka.state";
/// Bytes of the body in one record.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// Bodies begin and changes are aligned at multiples of this, so that Arrow reads them where they are.
const ALIGNMENT: usize = 16;

#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub version: u32,
    pub fingerprint: u64,
    pub snapshot: bool,
    pub chunk: usize,
    pub chunks: usize,
    #[serde(flatten)]
    pub progress: Progress,
}

/// What one epoch did to the state.
pub(in crate::stage) struct Entry {
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

/// Puts entries together again, from records in order.
pub(in crate::stage) struct Reading {
    partition: TopicPartition,
    pending: Option<Pending>,
}

/// The beginning of an entry.
struct Pending {
    epoch: u64,
    /// The number of the chunk that comes next.
    chunk: usize,
    body: Vec<u8>,
}

impl Reading {
    pub fn new(partition: TopicPartition) -> Self {
        Reading {
            partition,
            pending: None,
        }
    }

    /// Takes records, and passes on the entries that are complete with them.
    pub fn take(&mut self, fetched: &Fetched, mut take: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
            let header = header(&record).map_err(|reason| self.damaged(offset, reason))?;
            let Some(body) = self.join(&header, record.value) else {
                continue;
            };
            let bytes = body.len();
            let deltas = decode(body).map_err(|reason| self.damaged(offset, reason))?;
            take(Entry {
                fingerprint: header.fingerprint,
                progress: header.progress,
                snapshot: header.snapshot,
                deltas,
                written: record.timestamp,
                bytes,
            })?;
        }
        Ok(())
    }

    /// Adds a chunk; gives the body if that is the last.
    fn join(&mut self, header: &Header, part: &[u8]) -> Option<Vec<u8>> {
        let epoch = header.progress.epoch;
        if header.chunk == 0 {
            let body = Vec::with_capacity(part.len());
            self.pending = Some(Pending { epoch, chunk: 0, body });
        }
        let pending = self.pending.as_mut()?;
        if (pending.epoch, pending.chunk) != (epoch, header.chunk) {
            // What is left of an entry that a snapshot replaced.
            self.pending = None;
            return None;
        }
        pending.body.extend_from_slice(part);
        pending.chunk += 1;
        let pending = self.pending.take_if(|pending| pending.chunk == header.chunks)?;
        Some(pending.body)
    }

    /// What lies at an offset is not as it should be.
    pub fn damaged(&self, offset: Offset, reason: String) -> EngineError {
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

pub(super) fn encode(deltas: &[(usize, Delta)]) -> Result<Vec<u8>> {
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
