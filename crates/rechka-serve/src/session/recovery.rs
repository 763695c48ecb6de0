//! What was going on when the log was last written to.
use std::collections::HashMap;

use rechka_log::{Log, Offset, RecordRef, Result, TopicPartition};
use rechka_types::{headers, topics};

use super::{SESSIONS, SessionRecord};
use crate::{
    protocol::SessionId,
    reading::{header_number, scan},
};

/// The sessions in the log.
pub(crate) struct Recovered {
    /// Sessions that are not complete, with all their durable frames.
    pub open: HashMap<SessionId, SessionRecord>,
    /// Complete sessions.
    pub ended: Vec<SessionRecord>,
    /// By partition of the audio topic: where the next record goes.
    pub ends: Vec<Offset>,
    /// The sessions' records from here on were not read.
    pub sessions_from: Offset,
}

/// Reads the sessions' records, and the audio that came after the last record of each open session.
pub(crate) fn recover(log: &dyn Log, partitions: u32) -> Result<Recovered> {
    let mut sessions = HashMap::new();
    let partition = TopicPartition::new(SESSIONS, 0);
    let records = log.offsets(&partition)?;
    let sessions_from = records.end;
    scan(log, &partition, records, |_, record| {
        match serde_json::from_slice::<SessionRecord>(record.value) {
            Ok(session) => match SessionId::parse(&session.session) {
                Ok(id) => drop(sessions.insert(id, session)),
                Err(_) => tracing::warn!(
                    session = session.session,
                    "a session with an impossible name is left out"
                ),
            },
            Err(error) => tracing::warn!(%error, "a session's record can't be read and is left out"),
        }
        true
    })?;
    let (ended, mut open): (HashMap<_, _>, HashMap<_, _>) = sessions.into_iter().partition(|(_, record)| record.ended);
    let mut ends = Vec::new();
    for number in 0..partitions {
        let partition = TopicPartition::new(topics::AUDIO, number);
        let kept = log.offsets(&partition)?;
        ends.push(kept.end);
        let here = open
            .iter()
            .filter(|(id, _)| rechka_log::partition_for_key(id.as_str().as_bytes(), partitions) == number);
        if let Some(from) = here.map(|(_, record)| record.checkpoint.offset).min() {
            scan(log, &partition, from..kept.end, |_, record| {
                follow(&mut open, &record);
                true
            })?;
        }
    }
    let (finished, open) = open
        .into_iter()
        .partition(|(_, record): &(_, SessionRecord)| record.ended);
    let finished: HashMap<SessionId, SessionRecord> = finished;
    Ok(Recovered {
        open,
        ended: ended.into_values().chain(finished.into_values()).collect(),
        ends,
        sessions_from,
    })
}

/// A session as it is now, whose record may be an old one of another gateway's.
pub(crate) fn follow_up(log: &dyn Log, record: SessionRecord, partitions: u32) -> Result<SessionRecord> {
    let number = rechka_log::partition_for_key(record.session.as_bytes(), partitions);
    let partition = TopicPartition::new(topics::AUDIO, number);
    let unread = record.checkpoint.offset..log.offsets(&partition)?.end;
    let Ok(id) = SessionId::parse(&record.session) else {
        return Ok(record);
    };
    let mut open = HashMap::from([(id, record.clone())]);
    scan(log, &partition, unread, |_, record| {
        follow(&mut open, &record);
        true
    })?;
    Ok(open.into_values().next().unwrap_or(record))
}

/// The last record of a session, read from the log: slow, for the few sessions that the catalog does not know any more.
pub(crate) fn last_record(log: &dyn Log, session: &SessionId) -> Result<Option<SessionRecord>> {
    let partition = TopicPartition::new(SESSIONS, 0);
    let mut last = None;
    scan(log, &partition, log.offsets(&partition)?, |_, record| {
        if record.key == Some(session.as_str().as_bytes()) {
            last = serde_json::from_slice(record.value).ok();
        }
        true
    })?;
    Ok(last)
}

fn follow(open: &mut HashMap<SessionId, SessionRecord>, audio: &RecordRef<'_>) {
    let key = audio.key.and_then(|key| std::str::from_utf8(key).ok());
    let Some(session) = key
        .and_then(|key| SessionId::parse(key).ok())
        .and_then(|id| open.get_mut(&id))
    else {
        return;
    };
    if audio.header(headers::CONTROL) == Some(headers::END.as_bytes()) {
        session.ended = true;
    } else if let Some(frame) = header_number(audio, headers::FRAME) {
        let frames = (audio.value.len() / session.format.frame_bytes()) as u64;
        session.frames = session.frames.max(frame.saturating_add(frames));
    }
}
