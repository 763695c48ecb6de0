//! What the log keeps about a session beside its audio.
use rechka_log::Offset;
use rechka_speech::audio::PcmFormat;
use serde::{Deserialize, Serialize};

use crate::protocol::{Hello, Pace, SessionId, Task};

/// The compacted topic of sessions: key the session, value [`SessionRecord`] as JSON.
///
/// A record is written when a session begins, after every [`CHECKPOINT_SECONDS`] of its audio, after [`CHECKPOINT_RECORDS`] of
/// others' in its partition, and when it ends; always in the same
/// atomic append as the audio it speaks of. Whoever takes a session up reads these records, and only the audio that
/// came after the last of them, to know which frame it goes on with: that work is bounded by the number of
/// sessions, not by their length.
///
/// Gateways tell each other by it who has a session: whoever takes it up writes a record, and writes it again once in a while for as
/// long as the session is open. One of which nothing is heard belongs to nobody any more.
pub const SESSIONS: &str = "sessions";

/// Seconds of audio between two records of a session.
pub(crate) const CHECKPOINT_SECONDS: u64 = 30;
/// Records of its partition between two records of a session, in which it may be silent.
pub(crate) const CHECKPOINT_RECORDS: u64 = 20_000;

/// Marks kept of a session; when there are more, every second one is dropped and they grow rarer.
const MOST_MARKS: usize = 64;

/// A place in the log from which on all frames from `frame` are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// A frame of the session.
    pub frame: u64,
    /// An offset in its partition of the audio topic, at or before that frame's record.
    pub offset: Offset,
}

/// A session, as of its last record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    /// Its name.
    pub session: String,
    /// The gateway that has its client.
    #[serde(default)]
    pub gateway: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// Encoding, rate and channels.
    #[serde(flatten)]
    pub format: PcmFormat,
    /// Language asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Task asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Title for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Live or recorded.
    #[serde(default)]
    pub pace: Pace,
    /// Frames before this record.
    pub frames: u64,
    /// Whether the session is complete.
    pub ended: bool,
    /// The place to go on reading from: after this record's own frames.
    pub checkpoint: Mark,
    /// Places to begin reading from, in order; the first is the session's beginning.
    pub marks: Vec<Mark>,
}

impl SessionRecord {
    /// A session that begins; its audio will be found from `offset` on.
    pub fn begin(session: &SessionId, gateway: &str, hello: &Hello, created: i64, offset: Offset) -> Self {
        let mark = Mark { frame: 0, offset };
        Self {
            session: session.as_str().to_owned(),
            gateway: gateway.to_owned(),
            created,
            format: hello.format,
            language: hello.language.clone(),
            task: hello.task,
            name: hello.name.clone(),
            pace: hello.pace,
            frames: 0,
            ended: false,
            checkpoint: mark,
            marks: vec![mark],
        }
    }

    /// Whether it is time for another record, when its partition ends at `end`.
    pub fn checkpoint_due(&self, end: Offset) -> bool {
        self.frames - self.checkpoint.frame >= CHECKPOINT_SECONDS * u64::from(self.format.rate())
            || end.saturating_sub(self.checkpoint.offset) >= CHECKPOINT_RECORDS
    }

    /// Notes that all frames from [`SessionRecord::frames`] on will be found from `offset` on.
    pub fn set_checkpoint(&mut self, offset: Offset) {
        self.checkpoint = Mark {
            frame: self.frames,
            offset,
        };
        let spacing = match self.marks[..] {
            [first, second, ..] => second.frame - first.frame,
            _ => 0,
        };
        match self.marks.last_mut() {
            Some(last) if last.frame == self.frames => *last = self.checkpoint,
            Some(last) if self.frames - last.frame < spacing => {}
            _ => self.marks.push(self.checkpoint),
        }
        if self.marks.len() > MOST_MARKS {
            let mut position = 0;
            self.marks.retain(|_| {
                position += 1;
                position % 2 == 1
            });
        }
    }

    /// The nearest place to begin reading `frame` from.
    pub fn mark_before(&self, frame: u64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.frame <= frame);
        self.marks
            .get(after.saturating_sub(1))
            .copied()
            .unwrap_or(Mark { frame: 0, offset: 0 })
    }

    /// As stored.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and structs always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        let hello = Hello::parse(r#"{"encoding":"pcm_s16le","rate":1000,"channels":1,"task":"translate"}"#).unwrap();
        SessionRecord::begin(&SessionId::parse("s").unwrap(), "g", &hello, 5, 100)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record();
        let json = record.to_json();
        assert!(String::from_utf8_lossy(&json).contains(r#""encoding":"pcm_s16le","rate":1000"#));
        assert_eq!(serde_json::from_slice::<SessionRecord>(&json).unwrap(), record);
    }

    #[test]
    fn marks_of_a_long_session_stay_few_and_evenly_spread() {
        let mut record = record();
        for n in 1..=10_000_u64 {
            record.frames = n * 30_000;
            assert!(record.checkpoint_due(100 + n));
            record.set_checkpoint(100 + n);
        }
        assert!(record.marks.len() <= MOST_MARKS && record.marks.len() > MOST_MARKS / 4);
        let gaps: Vec<u64> = record
            .marks
            .windows(2)
            .map(|pair| pair[1].frame - pair[0].frame)
            .collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
        assert_eq!(record.mark_before(0).offset, 100);
        let mark = record.mark_before(150_000_000);
        assert!(mark.frame <= 150_000_000 && mark.frame + gaps[0] > 150_000_000);
        assert_eq!(mark.offset, 100 + mark.frame / 30_000);
    }
}
