//! What goes to the log in one atomic append.
use std::{collections::BTreeMap, sync::Arc};

use rechka_log::{Append, BatchBuilder, Header, LogError, Partition, TopicPartition};
use rechka_types::topics;

use super::{SESSIONS, SessionRecord};

/// Records of one append: audio by partition, and session records.
#[derive(Default)]
pub(crate) struct Group {
    audio: BTreeMap<Partition, BatchBuilder>,
    sessions: BatchBuilder,
    refused: Option<LogError>,
}

/// How many records a group has for a partition of the audio topic; in the order of its appends.
pub(crate) type Counts = Vec<(Partition, u64)>;

impl Group {
    /// Adds audio, or a control record.
    pub fn push_audio(
        &mut self,
        partition: Partition,
        key: &str,
        value: &[u8],
        timestamp: i64,
        headers: &[Header<'_>],
    ) {
        let batch = self.audio.entry(partition).or_default();
        if let Err(error) = batch.push(Some(key.as_bytes()), value, timestamp, headers) {
            self.refused = Some(error);
        }
    }

    /// Adds the record of a session.
    pub fn push_session(&mut self, record: &SessionRecord, timestamp: i64) {
        let key = Some(record.session.as_bytes());
        if let Err(error) = self.sessions.push(key, &record.to_json(), timestamp, &[]) {
            self.refused = Some(error);
        }
    }

    /// The appends, audio first. Fails when a record does not fit: nothing of the group may be written then.
    pub fn finish(self) -> Result<(Vec<Append>, Counts), LogError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let topic: Arc<str> = topics::AUDIO.into();
        let mut counts = Counts::new();
        let mut appends = Vec::new();
        for (partition, batch) in self.audio {
            counts.push((partition, batch.len() as u64));
            appends.push(Append {
                to: TopicPartition::new(topic.clone(), partition),
                batch: batch.finish(),
            });
        }
        if !self.sessions.is_empty() {
            appends.push(Append {
                to: TopicPartition::new(SESSIONS, 0),
                batch: self.sessions.finish(),
            });
        }
        Ok((appends, counts))
    }
}
