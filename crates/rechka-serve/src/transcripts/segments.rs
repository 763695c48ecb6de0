//! Segments of a session, read from the log.
use std::{collections::BTreeMap, ops::Range};

use rechka_log::{Log, Offset, Partition, Result, TopicPartition};
use rechka_types::{Kind, Transcript, topics};

use crate::reading::{Library, scan};

/// Segments read at once.
const PAGE: usize = 64;
/// Most segments of one session that are put together: a week of speech.
const MOST: usize = 200_000;

/// The segments of a session, the newest revision of each, in order.
pub(crate) struct Segments {
    /// Speech, silence and failed stretches.
    pub segments: Vec<Transcript>,
    /// There are more than were read.
    pub truncated: bool,
}

/// Segments of `session` in a range of offsets, at most a page of them, and the offset to go on from.
pub(crate) fn page(
    log: &dyn Log,
    partition: Partition,
    session: &str,
    range: Range<Offset>,
) -> Result<(Vec<Transcript>, Offset)> {
    let from = TopicPartition::new(topics::TRANSCRIPTS, partition);
    let mut segments = Vec::new();
    let mut next = range.end;
    scan(log, &from, range, |offset, record| {
        if record.key == Some(session.as_bytes())
            && let Ok(segment) = serde_json::from_slice::<Transcript>(record.value)
        {
            segments.push(segment);
            if segments.len() == PAGE {
                next = offset + 1;
                return false;
            }
        }
        true
    })?;
    Ok((segments, next))
}

/// All segments of `session` in a range of offsets.
pub(crate) async fn read_segments(
    library: &Library,
    partition: Partition,
    session: &str,
    range: Range<Offset>,
) -> Result<Segments> {
    let mut newest: BTreeMap<u64, Transcript> = BTreeMap::new();
    let mut unread = range;
    while !unread.is_empty() && newest.len() < MOST {
        let (session, range) = (session.to_owned(), unread.clone());
        let (segments, next) = library.read(move |log| page(log, partition, &session, range)).await?;
        unread.start = next;
        for segment in segments.into_iter().filter(|segment| segment.kind != Kind::End) {
            let known = newest.get(&segment.segment);
            if known.is_none_or(|known| known.revision <= segment.revision) {
                newest.insert(segment.segment, segment);
            }
        }
    }
    Ok(Segments {
        segments: newest.into_values().collect(),
        truncated: !unread.is_empty(),
    })
}
