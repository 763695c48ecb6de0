//! The sessions of a partition: in memory, or waiting in the log.
use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use rechka_log::{Fetched, Offset, Reader, RecordRef};

use super::{
    keyless::Keyless,
    record::{Content, Settings},
    stored::Stored,
    stream::Stream,
};
use crate::statistics::Counts;

/// Sessions that are complete and still known, so that what is sent twice does not begin them anew.
const KNOWN_COMPLETE: usize = 1024;

/// What is known of a partition.
pub(super) struct Sessions {
    /// The offset after the last record that was pushed.
    pub position: Offset,
    /// The timestamp of the last record.
    pub newest: i64,
    pub open: BTreeMap<String, Slot>,
    /// Which of them the records without key belong to.
    pub keyless: Keyless,
    complete: VecDeque<String>,
    /// No more audio comes.
    pub at_end: bool,
    /// Whether somebody knows that all is worked off.
    pub end_is_told: bool,
    /// What happened since it was told last.
    pub counts: Counts,
    counts_are_new: bool,
}

/// An open session.
pub(super) struct Slot {
    /// What the log knows of it once the epoch is committed.
    pub stored: Stored,
    /// Whether that must be written even if nothing changed.
    pub unsaved: bool,
    /// None: it waits in the log.
    pub stream: Option<Stream>,
    /// Some: it reads the log by itself until it has caught up with its partition.
    pub catch_up: Option<CatchUp>,
    /// Whether it waits in the log for room in memory.
    pub wants_room: bool,
    /// When it last had a record.
    pub touched: Instant,
}

/// A reader of a session's partition.
pub(super) struct CatchUp {
    pub reader: Box<dyn Reader>,
    pub next: Offset,
    /// Which session the records without key belong to.
    pub keyless: Keyless,
}

impl Sessions {
    /// A partition whose next record is at `position`.
    pub fn new(position: Offset, stored: BTreeMap<String, Option<Stored>>) -> Self {
        let mut sessions = Sessions {
            position,
            newest: 0,
            open: BTreeMap::new(),
            keyless: Keyless::new(None),
            complete: VecDeque::new(),
            at_end: false,
            end_is_told: false,
            counts: Counts::default(),
            counts_are_new: true,
        };
        for (name, stored) in stored {
            match stored {
                Some(stored) => drop(sessions.open.insert(name, Slot::waiting(stored))),
                None => sessions.complete.push_back(name),
            }
        }
        sessions
    }

    /// Whether no more audio comes, and all that was said is recognised.
    pub fn is_worked_off(&self) -> bool {
        self.at_end && self.open.is_empty()
    }

    /// What happened since the last call, if anything did.
    pub fn take_counts(&mut self) -> Option<Counts> {
        let Counts {
            records_in,
            rows_out,
            dead,
            ..
        } = self.counts;
        let happened = std::mem::take(&mut self.counts_are_new) || records_in + rows_out + dead > 0;
        let held = self.open.values().filter_map(|slot| slot.stream.as_ref());
        let samples: usize = held.map(|stream| stream.session().held()).sum();
        happened.then(|| Counts {
            watermark: i64::MIN,
            state_bytes: samples * size_of::<f32>(),
            ..std::mem::take(&mut self.counts)
        })
    }

    pub fn is_complete(&self, name: &str) -> bool {
        self.complete.iter().any(|complete| complete == name)
    }

    /// Takes it that a session is complete; gives the session that is known no longer for it.
    pub fn complete(&mut self, name: String) -> Option<String> {
        self.complete.push_back(name);
        if self.complete.len() > KNOWN_COMPLETE {
            self.complete.pop_front()
        } else {
            None
        }
    }
}

impl Slot {
    /// A session in the log.
    fn waiting(stored: Stored) -> Self {
        Slot {
            stored,
            unsaved: false,
            stream: None,
            catch_up: None,
            wants_room: true,
            touched: Instant::now(),
        }
    }

    /// A session whose first record is at `offset`, and may have no key.
    pub fn new(offset: Offset, content: &Content<'_>, keyless: bool) -> Self {
        let settings = match content {
            Content::Audio(audio) => audio.settings.clone(),
            Content::End(_) => Settings::default(),
        };
        Slot {
            unsaved: true,
            ..Slot::waiting(Stored {
                keyless,
                ..Stored::new(offset, settings)
            })
        }
    }

    /// Puts the session back into the log.
    pub fn hibernate(&mut self) {
        if let Some(stream) = self.stream.take() {
            let stored = stream.stored();
            self.unsaved |= !self.stored.serves_for(&stored);
            self.stored = stored;
            self.catch_up = None;
            self.wants_room = false;
        }
    }

    /// What must be written of the session, if anything.
    pub fn take_unsaved(&mut self) -> Option<&Stored> {
        if let Some(stream) = &self.stream {
            let stored = stream.stored();
            if self.unsaved || !self.stored.serves_for(&stored) {
                self.stored = stored;
                self.unsaved = true;
            }
        }
        std::mem::take(&mut self.unsaved).then_some(&self.stored)
    }

    /// Gives the stream a record; an error says why it can't be used.
    pub fn feed(&mut self, offset: Offset, record: &RecordRef<'_>, content: &Content<'_>) -> Result<(), String> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        self.touched = Instant::now();
        match content {
            Content::Audio(audio) => {
                let taken = stream.audio(offset, record.timestamp, audio);
                self.unsaved |= taken.is_err();
                taken
            }
            Content::End(end) => {
                stream.end(offset, record.timestamp, end);
                Ok(())
            }
        }
    }

    /// Takes it that nothing more comes, at a record that it must have been fed up to.
    pub fn finish(&mut self, now: i64) {
        match &mut self.stream {
            Some(stream) if self.catch_up.is_none() => stream.finish(now),
            // It finds out by itself when it reads as far.
            Some(_) => {}
            None => self.wants_room = true,
        }
    }

    /// Whether it has audio for the model.
    pub fn is_due(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.session().due().is_some())
    }

    /// Samples that wait in memory.
    pub fn backlog(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.session().backlog())
    }
}

impl CatchUp {
    /// Reads from where a session must be read again.
    pub fn new(reader: Box<dyn Reader>, session: &str, stored: &Stored) -> Self {
        CatchUp {
            reader,
            next: stored.replay,
            keyless: Keyless::new(stored.keyless.then(|| session.to_owned())),
        }
    }

    /// The records of `fetched` that are still to be read before `position`, with their offsets.
    pub fn take<'a>(&mut self, fetched: &'a Fetched, position: Offset) -> Vec<(Offset, RecordRef<'a>)> {
        let records = (fetched.base_offset..).zip(fetched.batch.iter());
        let records = records
            .filter(|(offset, _)| (self.next..position).contains(offset))
            .collect();
        self.skip(fetched.next_offset(), position);
        records
    }

    /// Goes on at offset `next`, and at most to `position`.
    pub fn skip(&mut self, next: Offset, position: Offset) {
        self.next = next.min(position);
    }
}
