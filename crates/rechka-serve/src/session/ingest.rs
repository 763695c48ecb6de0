//! The thread that appends to the log what all connections send.
use std::{
    sync::Arc,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rechka_log::{Log, LogError, Offset};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    SessionRecord, follow_up,
    group::{Counts, Group},
    sequencer::{Sequencer, Turn},
};
use crate::{
    metrics::Metrics,
    protocol::{AudioMessage, Hello, Refusal, SessionId},
};

/// Jobs that may wait; senders wait beyond.
const WAITING_JOBS: usize = 1024;
/// What goes into one append, roughly: far less than [`rechka_log::MAX_BATCH_BYTES`].
const TURN_BYTES: usize = 8 * 1024 * 1024;
/// What a job may take in an append beside its samples: key, headers and a place in the columns. Without it a turn of tiny
/// messages would have no end, and its batch would be too large for the log.
const JOB_BYTES: usize = 512;

/// What connections ask for.
pub(crate) enum Job {
    /// Begin or continue a session.
    Open {
        /// What the client said.
        hello: Hello,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Opened, Refusal>>,
    },
    /// Audio of a session.
    Audio {
        /// The session.
        session: SessionId,
        /// Who sends it.
        connection: u64,
        /// Samples.
        message: AudioMessage,
        /// When they came.
        received: Instant,
    },
    /// The session is complete.
    End {
        /// The session.
        session: SessionId,
        /// Who says so.
        connection: u64,
    },
    /// The connection is gone.
    Leave {
        /// Its session.
        session: SessionId,
        /// Which one.
        connection: u64,
    },
    /// A session's record was written, here or by another gateway.
    Heard(Box<SessionRecord>),
    /// Time has passed.
    Tick,
}

/// An open session, as its connection sees it.
pub(crate) struct Opened {
    /// Its name.
    pub session: SessionId,
    /// The connection's number.
    pub connection: u64,
    /// The first frame that is missing.
    pub next_frame: u64,
    /// Whether the session is complete.
    pub ended: bool,
    /// What is durable, and what went wrong.
    pub progress: watch::Receiver<Progress>,
}

impl Opened {
    /// A session that takes no audio any more.
    pub fn ended(session: SessionId, frames: u64) -> Self {
        let (_, progress) = watch::channel(Progress {
            durable: frames,
            ended: true,
            refusal: None,
        });
        Self {
            session,
            connection: 0,
            next_frame: frames,
            ended: true,
            progress,
        }
    }
}

/// How far a session is; newer replaces older.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Everything before this frame is durable.
    pub durable: u64,
    /// The session's end is durable.
    pub ended: bool,
    /// The connection must go.
    pub refusal: Option<Refusal>,
}

/// The thread, and the way to it.
pub(crate) struct Ingest {
    jobs: mpsc::Sender<Job>,
}

impl Ingest {
    /// Starts the thread; it ends when nobody can send it jobs any more.
    pub fn start(
        log: Arc<dyn Log>,
        sequencer: Sequencer,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (jobs, receiver) = mpsc::channel(WAITING_JOBS);
        let thread = thread::Builder::new()
            .name("gateway-ingest".into())
            .spawn(move || run(&*log, sequencer, receiver, &metrics))?;
        Ok((Self { jobs }, thread))
    }

    /// The way to the thread alone.
    pub fn jobs(&self) -> mpsc::Sender<Job> {
        self.jobs.clone()
    }

    /// Hands over a job, waiting for room.
    pub async fn send(&self, job: Job) -> Result<(), Refusal> {
        self.jobs.send(job).await.map_err(|_| Refusal::Stopping)
    }

    /// Begins or continues a session.
    pub async fn open(&self, hello: Hello) -> Result<Opened, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Open { hello, reply }).await?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Whether the thread is there.
    pub fn is_running(&self) -> bool {
        !self.jobs.is_closed()
    }
}

fn run(log: &dyn Log, mut sequencer: Sequencer, mut jobs: mpsc::Receiver<Job>, metrics: &Metrics) {
    while let Some(first) = jobs.blocking_recv() {
        let mut turn = Turn::new(Instant::now(), milliseconds_now());
        let mut received = Vec::new();
        let (mut bytes, mut jobs_bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Open { hello, reply } => match take_up(log, &mut sequencer, &hello, &mut turn) {
                    Ok(()) => sequencer.open(&hello, reply, &mut turn),
                    Err(error) => drop(reply.send(Err(Refusal::Storage(error.to_string())))),
                },
                Job::Audio {
                    session,
                    connection,
                    message,
                    received: at,
                } => {
                    bytes += message.samples.len();
                    received.push(at);
                    sequencer.audio(&session, connection, &message, &mut turn);
                }
                Job::End { session, connection } => sequencer.end(&session, connection, &mut turn),
                Job::Leave { session, connection } => sequencer.leave(&session, connection, &turn),
                Job::Heard(record) => sequencer.heard(*record, turn.now),
                Job::Tick => {
                    end_left_behind(log, &mut sequencer, &mut turn);
                    sequencer.expire(&mut turn);
                }
            }
            jobs_bytes += JOB_BYTES;
            let full = bytes + jobs_bytes >= TURN_BYTES;
            next = if full { None } else { jobs.try_recv().ok() };
        }
        let (group, end) = turn.split();
        match append(log, group) {
            Ok((counts, offsets)) => {
                sequencer.committed(end, &counts, &offsets);
                metrics.stored(bytes as u64, &received);
            }
            Err(error) => {
                tracing::error!(%error, "audio could not be stored");
                sequencer.failed(end, &error);
                metrics.store_failed();
            }
        }
        metrics.open_sessions(sequencer.open_sessions());
    }
}

/// Takes up the session that a client asks for, if another gateway had it.
fn take_up(log: &dyn Log, sequencer: &mut Sequencer, hello: &Hello, turn: &mut Turn) -> Result<(), LogError> {
    let Some(record) = hello.session.as_ref().and_then(|id| sequencer.elsewhere(id)) else {
        return Ok(());
    };
    if sequencer.is_full() {
        return Ok(()); // The client is told so.
    }
    let record = follow_up(log, record.clone(), sequencer.partitions())?;
    sequencer.take_up(record, true, turn);
    Ok(())
}

/// Ends the sessions of gateways that are gone.
fn end_left_behind(log: &dyn Log, sequencer: &mut Sequencer, turn: &mut Turn) {
    for record in sequencer.left_behind(turn.now) {
        match follow_up(log, record, sequencer.partitions()) {
            Ok(record) => sequencer.take_up(record, false, turn),
            Err(error) => tracing::warn!(%error, "a session that was left behind can't be ended; trying again"),
        }
    }
}

fn append(log: &dyn Log, group: Group) -> Result<(Counts, Vec<Offset>), LogError> {
    let (appends, counts) = group.finish()?;
    if appends.is_empty() {
        return Ok((counts, Vec::new()));
    }
    let offsets = log.append(appends)?.wait()?;
    Ok((counts, offsets))
}

fn milliseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rechka_log::SqliteLog;

    use super::*;
    use crate::{session::recover, transcripts::Catalog};

    #[test]
    fn any_number_of_tiny_messages_is_stored() {
        /// More than one batch of the log can hold, with names and languages of the greatest length.
        const MESSAGES: u64 = 350_000;
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        crate::topics::ensure(&log, 1).unwrap();
        let catalog = Arc::new(Catalog::new(1, 10));
        let recovered = recover(&log, 1).unwrap();
        let sequencer = Sequencer::new("g", recovered, 10, Duration::ZERO, catalog.clone(), Instant::now());
        let name = "n".repeat(64);
        let session = SessionId::parse(&name).unwrap();
        let hello = Hello::parse(&format!(
            r#"{{"encoding":"pcm_s16le","rate":384000,"channels":1,"session":"{name}","language":"{}","task":"transcribe"}}"#,
            "l".repeat(16)
        ));
        let (sender, jobs) = mpsc::channel(MESSAGES as usize + 1);
        let send = |job| assert!(sender.try_send(job).is_ok());
        let (reply, _answer) = oneshot::channel();
        send(Job::Open {
            hello: hello.unwrap(),
            reply,
        });
        for first_frame in 0..MESSAGES {
            let message = AudioMessage {
                first_frame,
                samples: bytes::Bytes::from_static(&[1, 2]),
            };
            send(Job::Audio {
                session: session.clone(),
                connection: 1,
                message,
                received: Instant::now(),
            });
        }
        drop(sender);
        run(&log, sequencer, jobs, &Metrics::default());
        assert_eq!(catalog.stored(&name).unwrap().frames, MESSAGES);
    }
}
