//! The sessions that the gateway knows.
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rechka_log::{Offset, Partition, partition_for_key};
use rechka_types::{Kind, Partial, Transcript};
use serde::Serialize;

use super::subscription::Queue;
use crate::{
    protocol::SessionId,
    session::{Mark, SessionRecord},
};

/// Characters of a session's text shown in the list.
const PREVIEW: usize = 160;
/// Segments of an open session whose place is known, for listeners that were away for a while.
const RECENT: usize = 32;

/// The sessions that the gateway knows: the open ones, and the newest of the others.
pub(crate) struct Catalog {
    state: Mutex<State>,
    listed: usize,
}

struct State {
    entries: HashMap<Arc<str>, Entry>,
    /// By age, for the list and for leaving out the oldest.
    by_age: BTreeSet<(i64, Arc<str>)>,
    /// Whether complete sessions were left out.
    incomplete: bool,
    /// By partition of the transcripts: the next offset that the follower reads.
    positions: Vec<Offset>,
}

#[derive(Default)]
struct Entry {
    created: i64,
    /// As last written; `None`: the session's audio did not come through this gateway.
    record: Option<SessionRecord>,
    /// Durable frames.
    frames: u64,
    /// Where its segments lie: first and last offset.
    segments_at: Option<(Offset, Offset)>,
    /// Its last segments and their offsets, while it is not complete.
    recent: VecDeque<(u64, Offset)>,
    /// Segments recognised.
    segments: u64,
    /// Seconds recognised.
    recognised: f64,
    /// Whether all its segments are out.
    complete: bool,
    preview: String,
    partial: Option<Arc<Partial>>,
    listeners: Vec<Arc<Queue>>,
}

/// What is known about a session's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    No,
    /// It is open.
    Open,
    /// It is complete.
    Ended {
        /// Its frames.
        frames: u64,
    },
    /// There are transcripts, but its audio did not come through this gateway.
    Foreign,
}

/// A session in the list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Its name.
    pub session: String,
    /// Title for people.
    pub name: Option<String>,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// Length of the audio.
    pub seconds: f64,
    /// How much of it is recognised.
    pub recognised: f64,
    /// Segments so far.
    pub segments: u64,
    /// `open`, `recognising` or `complete`.
    pub state: &'static str,
    /// Language asked for.
    pub language: Option<String>,
    /// The beginning of the text.
    pub preview: String,
    /// Whether there is audio to play.
    pub audio: bool,
}

/// Where a session lies in the log.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// What the list says.
    pub summary: Summary,
    /// Its segments are among these offsets of its partition.
    pub segments_at: Range<Offset>,
    /// Its format and marks.
    pub record: Option<SessionRecord>,
    /// Durable frames.
    pub frames: u64,
}

impl Stored {
    /// The nearest place to begin reading a frame from.
    pub fn mark_before(&self, frame: u64) -> Mark {
        let none = Mark { frame: 0, offset: 0 };
        self.record.as_ref().map_or(none, |record| record.mark_before(frame))
    }
}

impl Catalog {
    /// An empty catalog over so many partitions, listing at most `listed` sessions.
    pub fn new(partitions: u32, listed: usize) -> Self {
        Self {
            state: Mutex::new(State {
                entries: HashMap::new(),
                by_age: BTreeSet::new(),
                incomplete: false,
                positions: vec![0; partitions as usize],
            }),
            listed,
        }
    }

    /// No code panics while it holds the lock, and every change is complete by itself: a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition of a session's records, in every topic.
    pub fn partition(&self, session: &str) -> Partition {
        partition_for_key(session.as_bytes(), self.state().positions.len() as u32)
    }

    /// What is known about a session's audio.
    pub fn find(&self, session: &SessionId) -> Known {
        match self.state().entries.get(session.as_str()) {
            None => Known::No,
            Some(Entry { record: None, .. }) => Known::Foreign,
            Some(Entry {
                record: Some(record),
                frames,
                ..
            }) => {
                if record.ended {
                    Known::Ended { frames: *frames }
                } else {
                    Known::Open
                }
            }
        }
    }

    /// Whether the log may know a session that the catalog does not: it leaves out the oldest.
    pub fn may_have_left_out(&self, session: &SessionId) -> bool {
        let state = self.state();
        state.incomplete && !state.entries.contains_key(session.as_str())
    }

    /// Audio of a session, or (`rewritten`) its record, is durable.
    pub fn session_stored(&self, record: &SessionRecord, rewritten: bool) {
        let mut state = self.state();
        let entry = state.entry(&record.session, record.created);
        entry.frames = record.frames;
        if rewritten {
            entry.record = Some(record.clone());
            state.set_created(&record.session, record.created);
            state.leave_out_oldest(self.listed);
        }
    }

    /// Segments that follow in a partition of the transcripts, up to `next`.
    pub fn transcripts(&self, partition: Partition, next: Offset, segments: Vec<(Offset, i64, Arc<Transcript>)>) {
        let mut state = self.state();
        for (offset, timestamp, segment) in segments {
            let entry = state.entry(&segment.session, timestamp);
            entry.take(offset, &segment);
        }
        if let Some(position) = state.positions.get_mut(partition as usize) {
            *position = next;
        }
        state.leave_out_oldest(self.listed);
    }

    /// Captions that may still change.
    pub fn partial(&self, partial: Partial, timestamp: i64) {
        let mut state = self.state();
        let entry = state.entry(&partial.session, timestamp);
        if partial.segment < entry.segments || entry.complete {
            return;
        }
        let partial = Arc::new(partial);
        entry.recognised = entry.recognised.max(partial.start);
        for listener in &entry.listeners {
            listener.partial(&partial);
        }
        entry.partial = Some(partial);
        state.leave_out_oldest(self.listed);
    }

    /// The follower's next offsets, by partition.
    pub fn positions(&self) -> Vec<Offset> {
        self.state().positions.clone()
    }

    /// Begins with the partitions at these offsets.
    pub fn set_positions(&self, positions: Vec<Offset>) {
        self.state().positions = positions;
    }

    /// Registers a listener that knows the segments up to `after`. What it must read from the log is the returned range;
    /// everything later it will hear.
    pub fn listen(&self, session: &str, after: Option<u64>, queue: &Arc<Queue>) -> Range<Offset> {
        let mut state = self.state();
        let partition = partition_for_key(session.as_bytes(), state.positions.len() as u32);
        let position = state.positions.get(partition as usize).copied().unwrap_or(0);
        let Some(entry) = state.entries.get_mut(session) else {
            return position..position;
        };
        entry.listeners.push(queue.clone());
        if let Some(partial) = &entry.partial {
            queue.partial(partial);
        }
        let known = entry.recent.iter().find(|(segment, _)| Some(*segment) == after);
        entry.segments_at.map_or(position..position, |(first, last)| {
            known.map_or(first, |(_, offset)| offset + 1)..last + 1
        })
    }

    /// Forgets a listener.
    pub fn leave(&self, session: &str, queue: &Arc<Queue>) {
        if let Some(entry) = self.state().entries.get_mut(session) {
            entry.listeners.retain(|listener| !Arc::ptr_eq(listener, queue));
        }
    }

    /// What a listener has missed, if it has: nothing reaches its queue in between.
    pub fn missed(&self, session: &str, queue: &Queue) -> Option<Range<Offset>> {
        let state = self.state();
        let partition = partition_for_key(session.as_bytes(), state.positions.len() as u32);
        let position = state.positions.get(partition as usize).copied().unwrap_or(0);
        queue.take_missed().map(|from| from..position)
    }

    /// Where a session lies in the log.
    pub fn stored(&self, session: &str) -> Option<Stored> {
        let state = self.state();
        let (name, entry) = state.entries.get_key_value(session)?;
        Some(Stored {
            summary: entry.summary(name),
            segments_at: entry.segments_at.map_or(0..0, |(first, last)| first..last + 1),
            record: entry.record.clone(),
            frames: entry.frames,
        })
    }

    /// At most `limit` sessions, newest first, older than `before` (time of creation and name). Sessions without any sound are left out.
    pub fn list(&self, limit: usize, before: Option<(i64, &str)>) -> Vec<Summary> {
        let state = self.state();
        let end = before.map_or((i64::MAX, Arc::from("")), |(created, name)| (created, Arc::from(name)));
        let older = state.by_age.range(..end).rev();
        older
            .filter_map(|(_, name)| state.entries.get_key_value(name))
            .filter(|(_, entry)| entry.frames > 0 || entry.segments > 0 || entry.partial.is_some())
            .map(|(name, entry)| entry.summary(name))
            .take(limit)
            .collect()
    }
}

impl State {
    fn entry(&mut self, session: &str, created: i64) -> &mut Entry {
        if !self.entries.contains_key(session) {
            let name: Arc<str> = session.into();
            self.by_age.insert((created, name.clone()));
            let entry = Entry {
                created,
                ..Entry::default()
            };
            self.entries.insert(name, entry);
        }
        self.entries.entry(session.into()).or_default()
    }

    fn set_created(&mut self, session: &str, created: i64) {
        let Some((name, _)) = self.entries.get_key_value(session) else {
            return;
        };
        let name = name.clone();
        if let Some(entry) = self.entries.get_mut(&name)
            && entry.created != created
        {
            self.by_age.remove(&(entry.created, name.clone()));
            entry.created = created;
            self.by_age.insert((created, name));
        }
    }

    fn leave_out_oldest(&mut self, listed: usize) {
        while self.entries.len() > listed {
            let in_use = |name: &Arc<str>| {
                let entry = self.entries.get(name);
                entry.is_some_and(|entry| {
                    !entry.listeners.is_empty() || entry.record.as_ref().is_some_and(|record| !record.ended)
                })
            };
            let Some(oldest) = self.by_age.iter().find(|(_, name)| !in_use(name)).cloned() else {
                return;
            };
            let entry = self.entries.remove(&oldest.1);
            self.incomplete |= entry.is_some_and(|entry| entry.record.is_some());
            self.by_age.remove(&oldest);
        }
    }
}

impl Entry {
    fn take(&mut self, offset: Offset, segment: &Arc<Transcript>) {
        let first = self.segments_at.map_or(offset, |(first, _)| first);
        self.segments_at = Some((first, offset));
        if segment.kind == Kind::End {
            self.complete = true;
            self.recent = VecDeque::new();
        } else {
            self.recent.push_back((segment.segment, offset));
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
            self.segments = self.segments.max(segment.segment.saturating_add(1));
        }
        self.recognised = self.recognised.max(segment.end);
        if segment.revision == 0 && !segment.text.is_empty() && self.preview.len() < PREVIEW {
            let space = if self.preview.is_empty() { "" } else { " " };
            let room = PREVIEW - self.preview.len();
            self.preview.push_str(space);
            self.preview.extend(segment.text.trim().chars().take(room));
        }
        self.partial = None;
        for listener in &self.listeners {
            listener.segment(offset, segment);
        }
    }

    fn summary(&self, name: &str) -> Summary {
        let record = self.record.as_ref();
        let recorded = record.map_or(0.0, |record| self.frames as f64 / f64::from(record.format.rate()));
        Summary {
            session: name.to_string(),
            name: record.and_then(|record| record.name.clone()),
            created: self.created,
            // Another gateway tells only now and then how far its sessions are.
            seconds: recorded.max(self.recognised),
            recognised: self.recognised,
            segments: self.segments,
            state: match record {
                _ if self.complete => "complete",
                Some(record) if record.ended => "recognising",
                _ => "open",
            },
            language: record.and_then(|record| record.language.clone()),
            preview: self.preview.clone(),
            audio: self.frames > 0,
        }
    }
}
