//! What of a session is kept in the log.
use rechka_log::{Log, Offset, Partition, TopicPartition};
use rechka_speech::{audio::PcmFormat, live::SessionState};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::record::Settings;
use crate::{EngineError, Result};

/// Version of the records of state.
const VERSION: u32 = 1;

/// The value of a record of state.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    /// None: the session is complete.
    open: Option<Stored>,
}

/// An open session as of some record of its partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Where its audio must be read again from: at or before the record that holds the checkpoint.
    pub replay: Offset,
    /// The first frame of the record there, which need not say it itself.
    #[serde(default)]
    pub replay_frame: u64,
    /// The offset after the last record that it took.
    pub taken: Offset,
    /// Where the audio around the checkpoint began.
    pub origin: Origin,
    /// The format of its audio, once there was some.
    pub format: Option<PcmFormat>,
    pub settings: Settings,
    /// Whether its records have no key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
    pub session: SessionState,
}

/// A place where audio began: at the session's start or after a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The number of its first frame in the session.
    pub frame: u64,
    /// The number of its first sample at 16 kHz.
    pub sample: u64,
}

impl Stored {
    /// A session whose first record is at `offset`.
    pub fn new(offset: Offset, settings: Settings) -> Self {
        Stored {
            replay: offset,
            replay_frame: 0,
            taken: offset,
            origin: Origin::default(),
            format: None,
            settings,
            keyless: false,
            session: SessionState::default(),
        }
    }

    /// Whether `self` would do in place of `newer`: reading the audio again from here brings the rest back.
    pub fn serves_for(&self, newer: &Stored) -> bool {
        self.session.same_but_for_position(&newer.session) && self.replay == newer.replay
    }
}

/// The value of a session's record of state.
pub(super) fn encode(open: Option<&Stored>) -> Vec<u8> {
    let record = Record {
        version: VERSION,
        open: open.cloned(),
    };
    // Maps with text keys, text and finite numbers can always be written.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// The sessions of a partition as the topic `state` has them; complete ones are none.
pub(super) fn load(log: &dyn Log, state: &Arc<str>, partition: Partition) -> Result<BTreeMap<String, Option<Stored>>> {
    let partition = TopicPartition::new(Arc::clone(state), partition);
    let offsets = log.offsets(&partition)?;
    let mut sessions = BTreeMap::new();
    let mut reader = log.read(vec![(partition, offsets.start)])?;
    let mut next = offsets.start;
    while next < offsets.end {
        // What lies before the end is there; None: only holes follow.
        let Some(fetched) = reader.poll(Duration::from_millis(100))? else {
            if reader.is_at_end() {
                break;
            }
            continue;
        };
        next = fetched.next_offset();
        for record in fetched.batch.iter() {
            let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
            if record.value.is_empty() {
                sessions.remove(&key);
                continue;
            }
            let open = decode(record.value).map_err(|reason| EngineError::State {
                topic: state.to_string(),
                key: key.clone(),
                reason,
            })?;
            sessions.insert(key, open);
        }
    }
    Ok(sessions)
}

fn decode(value: &[u8]) -> std::result::Result<Option<Stored>, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this program writes version {VERSION}"
        ));
    }
    let record: Record = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    Ok(record.open)
}
