//! Records without a key: the session that each belongs to.
//!
//! Whoever writes sound without naming a session speaks in one all the same: its first record begins it, and a pause ends it. That is
//! decided by the records' own timestamps, so that whoever reads a partition again finds the same sessions in it:
//!
//! ```text
//!   offset     7    8    9   10           11   12
//!   second     0    0    1    1           30   30
//!   session    └─ audio-stream@7 ─┘       └─ audio-stream@11 …
//! ```
//!
//! After the last record no timestamp follows that would tell of a pause. When nothing has come for as long by the clock, the
//! recogniser therefore writes the session's end into the partition; what ends the session is that record, wherever it comes to lie.
use std::{
    ops::Range,
    time::{Duration, Instant},
};

use rechka_log::{Log, LogError, Offset, RecordRef, TopicPartition};

use super::{
    config::Config,
    record::{Content, parse},
};
use crate::Result;

/// Bytes of the topic's name in a session's, which must be a key.
const LONGEST_TOPIC: usize = 200;

/// Follows the records without key of one partition.
#[derive(Debug)]
pub(super) struct Keyless {
    current: Option<Current>,
    /// When the last record came, or it was last asked whether that is long ago.
    heard: Instant,
}

/// The session that goes on.
#[derive(Debug)]
struct Current {
    name: String,
    /// The timestamp of its last record, in milliseconds; none: it is not known any more.
    last: Option<i64>,
}

/// A record, and where it belongs.
pub(super) struct Placed<'a> {
    /// Its session.
    pub session: String,
    /// Another session that is over because of it.
    pub over: Option<String>,
    pub content: Content<'a>,
}

impl Keyless {
    /// In the middle of a session, or of none.
    pub fn new(session: Option<String>) -> Self {
        Self {
            current: session.map(|name| Current { name, last: None }),
            heard: Instant::now(),
        }
    }

    /// Where the next record of the partition belongs; nowhere, if it ends a session of records without key and none goes on. An
    /// error says why it can't be used.
    pub fn place<'a>(
        &mut self,
        config: &Config,
        offset: Offset,
        record: &RecordRef<'a>,
    ) -> Result<Option<Placed<'a>>, String> {
        let topic = &config.topics.audio;
        let (key, content) = parse(record, config.format)?;
        let (session, over) = match (key, &content) {
            (Some(key), Content::Audio(_)) if is_reserved(key, topic) => {
                return Err(format!(
                    "the session {key:?} is one of records without key: take another name"
                ));
            }
            (Some(key), Content::Audio(_)) => (key.to_owned(), None),
            (Some(key), Content::End(_)) => {
                self.end(Some(key));
                (key.to_owned(), None)
            }
            (None, _) if config.partitions > 1 => {
                return Err(format!(
                    "no key: {topic} has {} partitions, over which records without key are scattered, so that the order of the sound \
                     is lost; give the session's name as the record's key, or make the topic with one partition",
                    config.partitions
                ));
            }
            (None, Content::Audio(_)) => self.audio(topic, offset, record.timestamp, config.speech.pause),
            (None, Content::End(_)) => match self.end(None) {
                Some(session) => (session, None),
                None => return Ok(None),
            },
        };
        Ok(Some(Placed { session, over, content }))
    }

    /// The session of audio without key, and the one that is over because of it.
    fn audio(&mut self, topic: &str, offset: Offset, timestamp: i64, pause: Duration) -> (String, Option<String>) {
        self.heard = Instant::now();
        let over = self.current.take_if(|current| {
            let paused = current.last.map_or(0, |last| timestamp.saturating_sub(last));
            u128::try_from(paused).is_ok_and(|paused| paused > pause.as_millis())
        });
        let current = self.current.get_or_insert_with(|| Current {
            name: format!("{}@{offset}", prefix(topic)),
            last: None,
        });
        current.last = Some(timestamp);
        (current.name.clone(), over.map(|over| over.name))
    }

    /// A session is said to be over: the one of this name, or whichever goes on. Gives its name if it did.
    fn end(&mut self, session: Option<&str>) -> Option<String> {
        let current = self
            .current
            .take_if(|current| session.is_none_or(|session| session == current.name));
        current.map(|current| current.name)
    }

    /// The session that goes on although nothing came for long. It is given again after as long.
    pub fn take_idle(&mut self, now: Instant, pause: Duration) -> Option<&str> {
        let current = self.current.as_ref()?;
        if now.saturating_duration_since(self.heard) < pause {
            return None;
        }
        self.heard = now;
        Some(&current.name)
    }
}

/// What the names of these sessions have of the topic's.
fn prefix(topic: &str) -> &str {
    topic.get(..LONGEST_TOPIC).unwrap_or(topic)
}

/// Whether a name is one that sessions of records without key have.
fn is_reserved(session: &str, topic: &str) -> bool {
    session
        .strip_prefix(prefix(topic))
        .and_then(|rest| rest.strip_prefix('@'))
        .is_some_and(|offset| !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Follows a partition from a record of a session on, as far as it was read before.
pub(super) fn resume(
    log: &dyn Log,
    config: &Config,
    from: TopicPartition,
    session: String,
    offsets: Range<Offset>,
) -> Result<Keyless> {
    let mut keyless = Keyless::new(Some(session));
    let mut reader = log.read(vec![(from, offsets.start)])?;
    let mut next = offsets.start;
    while next < offsets.end {
        let fetched = match reader.poll(Duration::from_millis(100)) {
            Ok(Some(fetched)) => fetched,
            Ok(None) if reader.is_at_end() => break,
            Ok(None) => continue,
            Err(LogError::Damaged { offsets, .. }) => {
                next = offsets.end;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
            if offsets.contains(&offset) {
                // What can't be used went to the dead letters when it was read first.
                let _ = keyless.place(config, offset, &record);
            }
        }
        next = fetched.next_offset();
    }
    Ok(keyless)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "audio-stream";
    const PAUSE: Duration = Duration::from_secs(10);

    fn place(session: &str, over: Option<&str>) -> (String, Option<String>) {
        (session.to_owned(), over.map(str::to_owned))
    }

    #[test]
    fn a_pause_of_the_records_time_begins_another_session() {
        let mut keyless = Keyless::new(None);
        assert_eq!(keyless.audio(TOPIC, 7, 1_000, PAUSE), place("audio-stream@7", None));
        assert_eq!(keyless.audio(TOPIC, 8, 11_000, PAUSE), place("audio-stream@7", None));
        assert_eq!(
            keyless.audio(TOPIC, 9, 21_001, PAUSE),
            place("audio-stream@9", Some("audio-stream@7"))
        );
        assert_eq!(
            keyless.audio(TOPIC, 10, 5_000, PAUSE),
            place("audio-stream@9", None),
            "a clock that is set back is no pause"
        );
    }

    #[test]
    fn what_is_said_to_be_over_is_not_gone_on_with() {
        let mut keyless = Keyless::new(None);
        assert_eq!(keyless.end(None), None);
        keyless.audio(TOPIC, 7, 0, PAUSE);
        assert_eq!(keyless.end(Some("anna")), None);
        assert_eq!(keyless.end(Some("audio-stream@7")), Some("audio-stream@7".to_owned()));
        assert_eq!(keyless.audio(TOPIC, 9, 1, PAUSE), place("audio-stream@9", None));
        assert_eq!(keyless.end(None), Some("audio-stream@9".to_owned()));
    }

    #[test]
    fn a_session_that_is_taken_up_again_goes_on_with_whatever_comes_first() {
        let mut keyless = Keyless::new(Some("audio-stream@3".to_owned()));
        assert_eq!(
            keyless.audio(TOPIC, 90, 1_000_000, PAUSE),
            place("audio-stream@3", None)
        );
        assert_eq!(keyless.audio(TOPIC, 91, 1_010_001, PAUSE).0, "audio-stream@91");
    }

    #[test]
    fn a_session_of_which_nothing_comes_is_given_once_in_a_while() {
        let mut keyless = Keyless::new(None);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(keyless.take_idle(later(60), PAUSE), None);
        keyless.audio(TOPIC, 7, 0, PAUSE);
        assert_eq!(keyless.take_idle(later(9), PAUSE), None);
        assert_eq!(keyless.take_idle(later(11), PAUSE), Some("audio-stream@7"));
        assert_eq!(keyless.take_idle(later(12), PAUSE), None);
        assert_eq!(keyless.take_idle(later(22), PAUSE), Some("audio-stream@7"));
    }

    #[test]
    fn only_names_of_such_sessions_are_reserved() {
        for (session, reserved) in [
            ("audio-stream@12", true),
            ("audio-stream@", false),
            ("audio-stream@x", false),
            ("calls@12", false),
            ("anna", false),
        ] {
            assert_eq!(is_reserved(session, TOPIC), reserved, "{session}");
        }
    }
}
