//! Appends of all threads, written in turn by one thread: what waits goes into one transaction.
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{connection::Connection, shared::Shared, transaction::Failure, transactor::Transactor};
use crate::{Ack, Append, LogError, Offset, Result};

/// Bytes that may wait; appending blocks beyond.
const MOST_WAITING: usize = 64 << 20;
/// Bytes that go into one transaction, or one append if that is larger.
const MOST_AT_ONCE: usize = 4 << 20;
/// The pause before a transaction is tried again.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What the producing threads and the writing thread share.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

/// One append with its answer.
struct Job {
    appends: Vec<Append>,
    answer: oneshot::Sender<Result<Vec<Offset>>>,
    bytes: usize,
}

/// The thread that appends. Dropping it waits until everything is written.
pub(super) struct Appender {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Appender {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self> {
        let queue = Arc::<Queue>::default();
        let writer = Writer {
            queue: Arc::clone(&queue),
            patience: shared.options.patience(),
            connection: shared.connection.clone(),
            transactor: Transactor::new(Arc::clone(&shared), shared.transactional_id("append")),
        };
        let thread = thread::Builder::new()
            .name("kafka-append".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| LogError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Takes an append that was checked.
    pub(super) fn append(&self, appends: Vec<Append>) -> Ack {
        let (answer, receiver) = oneshot::channel();
        let bytes = appends.iter().map(|append| append.batch.bytes()).sum();
        let mut state = self.queue.lock();
        while state.bytes > 0 && state.bytes + bytes > MOST_WAITING {
            state = self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes += bytes;
        state.waiting.push_back(Job { appends, answer, bytes });
        self.queue.changed.notify_all();
        Ack(receiver)
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next jobs, when there are any; none when the queue is closed and empty.
    fn take(&self) -> Vec<Job> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while let Some(job) = state.waiting.pop_front() {
            bytes += job.bytes;
            if !jobs.is_empty() && bytes > MOST_AT_ONCE {
                state.waiting.push_front(job);
                break;
            }
            jobs.push(job);
        }
        jobs
    }

    /// Makes room for what was written.
    fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.changed.notify_all();
    }
}

struct Writer {
    queue: Arc<Queue>,
    transactor: Transactor,
    connection: Connection,
    patience: Duration,
}

impl Writer {
    fn run(mut self) {
        loop {
            let jobs = self.queue.take();
            if jobs.is_empty() {
                return;
            }
            let bytes = jobs.iter().map(|job| job.bytes).sum();
            self.write(jobs);
            self.queue.release(bytes);
        }
    }

    /// Writes the jobs and answers them.
    fn write(&mut self, jobs: Vec<Job>) {
        let deadline = Instant::now() + self.patience;
        let failure = loop {
            let appends: Vec<&Append> = jobs.iter().flat_map(|job| &job.appends).collect();
            match self.transactor.attempt(&appends, None, || true) {
                Ok(written) => {
                    let mut written = written.into_iter().map(|offsets| offsets.start);
                    for job in jobs {
                        let bases = written.by_ref().take(job.appends.len()).collect();
                        // Nobody has to wait for it.
                        let _ = job.answer.send(Ok(bases));
                    }
                    return;
                }
                Err(Failure::Refused(_)) if jobs.len() > 1 => {
                    // Only one of them need be to blame.
                    jobs.into_iter().for_each(|job| self.write(vec![job]));
                    return;
                }
                Err(Failure::Refused(error)) => break error,
                Err(Failure::Aborted(error) | Failure::Broken(error) | Failure::Unknown(error)) => {
                    if Instant::now() > deadline {
                        break error;
                    }
                    // That no broker answers is told elsewhere.
                    if self.connection.ready().is_ok() {
                        tracing::warn!(%error, "appending to Kafka; trying again");
                    }
                    thread::sleep(BACK_OFF);
                }
                Err(Failure::Fenced { .. } | Failure::NameTaken) => break LogError::Closed, // Only members are.
            }
        };
        self.transactor.give_up();
        for job in jobs {
            let _ = job.answer.send(Err(failure.clone()));
        }
    }
}
