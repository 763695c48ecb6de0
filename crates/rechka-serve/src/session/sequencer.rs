//! The state machine of all open sessions: what is appended next, and what clients are told. No I/O, no clock.
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use rechka_log::{LogError, Offset, Partition, partition_for_key};
use rechka_types::headers;
use tokio::sync::{oneshot, watch};

use super::{
    Opened, Progress, SessionRecord,
    elsewhere::Elsewhere,
    group::{Counts, Group},
    recovery::Recovered,
};
use crate::{
    protocol::{AudioMessage, Fit, Hello, Refusal, SessionId, fit},
    transcripts::{Catalog, Known},
};

/// How often a session is written down in the time after which it counts as left behind.
const TELLINGS: u32 = 4;

/// All open sessions.
pub(crate) struct Sequencer {
    /// The name of this gateway among others.
    gateway: String,
    open: HashMap<SessionId, Session>,
    elsewhere: Elsewhere,
    /// By partition of the audio topic: the offset after the last durable record.
    ends: Vec<Offset>,
    most_sessions: usize,
    resume: Duration,
    catalog: Arc<Catalog>,
    connections: u64,
}

/// An open session.
struct Session {
    /// What will be durable once the current turn is.
    record: SessionRecord,
    /// The record as last written, to go back to when an append fails; `None`: never written.
    written: Option<SessionRecord>,
    /// Frames that are durable.
    durable: u64,
    partition: Partition,
    rate: String,
    channels: String,
    encoding: String,
    presence: Presence,
    /// When its record was last written, for other gateways to see that it is ours.
    told: Instant,
}

/// Whether a client is there.
enum Presence {
    /// This connection, by number, sends the session's audio.
    Connected(u64, watch::Sender<Progress>),
    /// Nobody does; the session ends at this moment.
    AwaitedUntil(Instant),
}

/// One turn: everything that arrived while the last append became durable.
pub(crate) struct Turn {
    /// When it began.
    pub now: Instant,
    /// The same on the calendar: milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// What it appends.
    pub group: Group,
    touched: BTreeSet<SessionId>,
    replies: Vec<(oneshot::Sender<Result<Opened, Refusal>>, Opened)>,
}

impl Turn {
    /// An empty turn.
    pub fn new(now: Instant, timestamp: i64) -> Self {
        Self {
            now,
            timestamp,
            group: Group::default(),
            touched: BTreeSet::new(),
            replies: Vec::new(),
        }
    }
}

impl Session {
    fn new(record: SessionRecord, written: Option<SessionRecord>, partitions: usize, now: Instant) -> Self {
        Self {
            presence: Presence::AwaitedUntil(now),
            told: now,
            durable: record.frames,
            partition: partition_for_key(record.session.as_bytes(), partitions as u32),
            rate: record.format.rate().to_string(),
            channels: record.format.channels().to_string(),
            encoding: record.format.encoding().to_string(),
            record,
            written,
        }
    }

    fn is_connected(&self, connection: u64) -> bool {
        matches!(&self.presence, Presence::Connected(number, _) if *number == connection)
    }

    /// Tells the client why it has to go, and waits for another.
    fn dismiss(&mut self, refusal: Refusal, until: Instant) {
        if let Presence::Connected(_, progress) = &self.presence {
            progress.send_modify(|progress| progress.refusal = Some(refusal));
        }
        self.presence = Presence::AwaitedUntil(until);
    }

    fn append(&self, samples: &[u8], control: bool, turn: &mut Turn) {
        let frame = self.record.frames.to_string();
        let mut all = vec![
            (headers::ENCODING, self.encoding.as_bytes()),
            (headers::RATE, self.rate.as_bytes()),
            (headers::CHANNELS, self.channels.as_bytes()),
            (headers::FRAME, frame.as_bytes()),
        ];
        if let Some(language) = &self.record.language {
            all.push((headers::LANGUAGE, language.as_bytes()));
        }
        if let Some(task) = self.record.task {
            all.push((headers::TASK, task.as_str().as_bytes()));
        }
        if control {
            all.push((headers::CONTROL, headers::END.as_bytes()));
        }
        let key = &self.record.session;
        turn.group
            .push_audio(self.partition, key, samples, turn.timestamp, &all);
    }

    /// Writes the session down if it is time; returns whether it was.
    fn checkpoint_if_due(&mut self, ends: &[Offset], turn: &mut Turn) -> bool {
        let end = ends.get(self.partition as usize).copied().unwrap_or(0);
        let due = self.record.checkpoint_due(end);
        if due {
            self.record.set_checkpoint(end);
            self.tell(turn);
        }
        due
    }

    /// Writes the session down.
    fn tell(&mut self, turn: &mut Turn) {
        turn.group.push_session(&self.record, turn.timestamp);
        self.told = turn.now;
    }

    fn end(&mut self, turn: &mut Turn) {
        self.append(&[], true, turn);
        self.record.ended = true;
        turn.group.push_session(&self.record, turn.timestamp);
    }
}

impl Sequencer {
    /// The sessions that were open when the log was last written to are those of other gateways, which may be gone. `gateway`: the name
    /// of this one.
    pub fn new(
        gateway: &str,
        recovered: Recovered,
        most_sessions: usize,
        resume: Duration,
        catalog: Arc<Catalog>,
        now: Instant,
    ) -> Self {
        let mut elsewhere = Elsewhere::default();
        for (id, record) in recovered.open {
            elsewhere.heard(id, record, now, resume);
        }
        Self {
            gateway: gateway.to_owned(),
            open: HashMap::new(),
            elsewhere,
            ends: recovered.ends,
            most_sessions,
            resume,
            catalog,
            connections: 0,
        }
    }

    /// Another gateway has written a session's record: if the session was ours, its client went there.
    pub fn heard(&mut self, record: SessionRecord, now: Instant) {
        let Ok(id) = SessionId::parse(&record.session) else {
            return;
        };
        if record.gateway == self.gateway {
            return;
        }
        if let Some(mut session) = self.open.remove(&id) {
            let refusal = if record.ended {
                Refusal::Ended
            } else {
                Refusal::TakenOver
            };
            session.dismiss(refusal, now);
        }
        self.catalog.session_stored(&record, true);
        self.elsewhere.heard(id, record, now, self.resume);
    }

    /// The record of a session that is open at another gateway.
    pub fn elsewhere(&self, id: &SessionId) -> Option<&SessionRecord> {
        self.elsewhere.get(id)
    }

    /// The sessions whose gateways are gone.
    pub fn left_behind(&self, now: Instant) -> Vec<SessionRecord> {
        self.elsewhere.left_behind(now)
    }

    /// Takes a session up that was open at another gateway, as it is in the log now: its client is here, or else it is ended.
    pub fn take_up(&mut self, record: SessionRecord, client_is_here: bool, turn: &mut Turn) {
        let Ok(id) = SessionId::parse(&record.session) else {
            return;
        };
        self.elsewhere.remove(&id);
        if record.ended {
            return self.catalog.session_stored(&record, true);
        }
        let ours = SessionRecord {
            gateway: self.gateway.clone(),
            ..record
        };
        self.catalog.session_stored(&ours, true);
        let mut session = Session::new(ours.clone(), Some(ours), self.ends.len(), turn.now);
        match client_is_here {
            true => session.tell(turn),
            false => session.end(turn),
        }
        turn.touched.insert(id.clone());
        self.open.insert(id, session);
    }

    /// Number of partitions of the audio topic.
    pub fn partitions(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Whether no other session may be opened.
    pub fn is_full(&self) -> bool {
        self.open.len() >= self.most_sessions
    }

    /// Number of open sessions.
    pub fn open_sessions(&self) -> usize {
        self.open.len()
    }

    /// Begins or continues a session. The reply comes when the turn is durable.
    pub fn open(&mut self, hello: &Hello, reply: oneshot::Sender<Result<Opened, Refusal>>, turn: &mut Turn) {
        match self.try_open(hello, turn) {
            Ok(opened) => turn.replies.push((reply, opened)),
            // Nobody waits for it any more: nothing to tell.
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    fn try_open(&mut self, hello: &Hello, turn: &mut Turn) -> Result<Opened, Refusal> {
        let id = hello.session.clone().unwrap_or_else(SessionId::random);
        if !self.open.contains_key(&id) {
            match self.catalog.find(&id) {
                Known::Ended { frames } => return Ok(Opened::ended(id, frames)),
                Known::Foreign => return Err(Refusal::Foreign(id.to_string())),
                Known::Open | Known::No => self.begin(&id, hello, turn)?,
            }
        }
        let Some(session) = self.open.get_mut(&id) else {
            return Err(Refusal::TooManySessions(self.most_sessions));
        };
        if session.record.format != hello.format {
            let begun = serde_json::to_string(&session.record.format).unwrap_or_default();
            return Err(Refusal::FormatDiffers {
                session: id.to_string(),
                begun,
            });
        }
        if session.record.ended {
            return Ok(Opened::ended(id, session.record.frames));
        }
        session.dismiss(Refusal::TakenOver, turn.now);
        self.connections += 1;
        let (progress, receiver) = watch::channel(Progress {
            durable: session.durable,
            ..Progress::default()
        });
        session.presence = Presence::Connected(self.connections, progress);
        turn.touched.insert(id.clone());
        Ok(Opened {
            session: id,
            connection: self.connections,
            next_frame: session.record.frames,
            ended: false,
            progress: receiver,
        })
    }

    fn begin(&mut self, id: &SessionId, hello: &Hello, turn: &mut Turn) -> Result<(), Refusal> {
        if self.is_full() {
            return Err(Refusal::TooManySessions(self.most_sessions));
        }
        let partition = partition_for_key(id.as_str().as_bytes(), self.ends.len() as u32);
        let offset = self.ends.get(partition as usize).copied().unwrap_or(0);
        let record = SessionRecord::begin(id, &self.gateway, hello, turn.timestamp, offset);
        let mut session = Session::new(record, None, self.ends.len(), turn.now);
        session.tell(turn);
        self.open.insert(id.clone(), session);
        Ok(())
    }

    /// Takes audio from a connection. A connection that was dismissed is not heard any more.
    pub fn audio(&mut self, id: &SessionId, connection: u64, message: &AudioMessage, turn: &mut Turn) {
        let Some(session) = self.open.get_mut(id).filter(|session| session.is_connected(connection)) else {
            return;
        };
        let until = turn.now + self.resume;
        if session.record.ended {
            return session.dismiss(Refusal::Ended, until);
        }
        let frame_bytes = session.record.format.frame_bytes();
        match fit(message, session.record.frames, frame_bytes) {
            Fit::Duplicate => {}
            Fit::Gap => {
                let (expected, got) = (session.record.frames, message.first_frame);
                session.dismiss(Refusal::Gap { expected, got }, until);
            }
            Fit::Next(samples) => {
                session.append(&samples, false, turn);
                session.record.frames += (samples.len() / frame_bytes) as u64;
                session.checkpoint_if_due(&self.ends, turn);
                turn.touched.insert(id.clone());
            }
        }
    }

    /// Completes a session.
    pub fn end(&mut self, id: &SessionId, connection: u64, turn: &mut Turn) {
        if let Some(session) = self.open.get_mut(id)
            && session.is_connected(connection)
            && !session.record.ended
        {
            session.end(turn);
            turn.touched.insert(id.clone());
        }
    }

    /// A connection is gone: its session waits for another.
    pub fn leave(&mut self, id: &SessionId, connection: u64, turn: &Turn) {
        if let Some(session) = self.open.get_mut(id)
            && session.is_connected(connection)
        {
            session.presence = Presence::AwaitedUntil(turn.now + self.resume);
        }
    }

    /// Completes the sessions whose clients did not come back in time, and writes down where the silent ones are, and that they are
    /// here.
    pub fn expire(&mut self, turn: &mut Turn) {
        for (id, session) in self.open.iter_mut().filter(|(_, session)| !session.record.ended) {
            let expired = matches!(session.presence, Presence::AwaitedUntil(moment) if moment <= turn.now);
            if expired {
                session.end(turn);
            }
            if expired || session.checkpoint_if_due(&self.ends, turn) {
                turn.touched.insert(id.clone());
            } else if turn.now.saturating_duration_since(session.told) >= self.resume / TELLINGS {
                session.tell(turn);
            }
        }
    }

    /// The turn is durable: `base_offsets` are where its audio went.
    pub fn committed(&mut self, turn: TurnEnd, counts: &Counts, base_offsets: &[Offset]) {
        for (&(partition, records), base) in counts.iter().zip(base_offsets) {
            if let Some(end) = self.ends.get_mut(partition as usize) {
                *end = base + records;
            }
        }
        for id in turn.touched {
            let Some(session) = self.open.get_mut(&id) else {
                continue;
            };
            session.durable = session.record.frames;
            let written = session.written.as_ref();
            let rewritten =
                written.is_none_or(|w| w.ended != session.record.ended || w.checkpoint != session.record.checkpoint);
            if rewritten {
                session.written = Some(session.record.clone());
            }
            self.catalog.session_stored(&session.record, rewritten);
            if let Presence::Connected(_, progress) = &session.presence {
                progress.send_modify(|progress| {
                    progress.durable = session.durable;
                    progress.ended = session.record.ended;
                });
            }
            if session.record.ended {
                self.open.remove(&id);
            }
        }
        for (reply, opened) in turn.replies {
            drop(reply.send(Ok(opened)));
        }
    }

    /// Nothing of the turn was written: sessions go back to what is durable, and their clients are sent away to come back.
    pub fn failed(&mut self, turn: TurnEnd, error: &LogError) {
        let refusal = Refusal::Storage(error.to_string());
        for id in turn.touched {
            let Some(session) = self.open.get_mut(&id) else {
                continue;
            };
            session.dismiss(refusal.clone(), turn.now + self.resume);
            match session.written.clone() {
                Some(written) => {
                    session.record = SessionRecord {
                        frames: session.durable,
                        ..written
                    };
                }
                None => {
                    self.open.remove(&id);
                }
            }
        }
        for (reply, _) in turn.replies {
            drop(reply.send(Err(refusal.clone())));
        }
    }
}

/// What is left of a turn when its group has gone to the log.
pub(crate) struct TurnEnd {
    now: Instant,
    touched: BTreeSet<SessionId>,
    replies: Vec<(oneshot::Sender<Result<Opened, Refusal>>, Opened)>,
}

impl Turn {
    /// The group to append, and what to settle afterwards.
    pub fn split(self) -> (Group, TurnEnd) {
        let end = TurnEnd {
            now: self.now,
            touched: self.touched,
            replies: self.replies,
        };
        (self.group, end)
    }
}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
