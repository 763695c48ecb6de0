//! Rows into files: each row in exactly one, whatever happens.
//!
//! A file holds the rows of one partition from an offset on, which is in its name. It is written under a name of its own, synced, and
//! only then renamed; after that the group's offset is committed. Whoever dies in between begins again at the same offset, so with the same
//! name, and replaces the file. Before the first file the offset to begin with is committed, so that files which are there before that
//! are known to be of another log, and are not replaced.
mod part;
mod writer;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rechka_formats::{Decoder, Format};
use rechka_log::{CommitError, Epoch, Event, Fetched, Log, Member, Membership, Offset, Partition, TopicPartition};
use rechka_sql::{Relation, statement::FileFormat};

use crate::{EmitError, Result};
use part::Part;

/// How long to wait for records before looking whether files are due.
const WAIT: Duration = Duration::from_millis(200);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Attempts of a sink that is to end.
const LAST_ATTEMPTS: usize = 3;

/// When a file is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows that it holds at most, about.
    pub rows: usize,
    /// Bytes of memory that its rows take before they are written, about.
    pub bytes: usize,
    /// Time from its first row.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 1_000_000,
            bytes: 64 << 20,
            age: Duration::from_secs(60),
        }
    }
}

/// Writes the rows of a relation into files of a folder, on a thread of its own. Dropping it stops it.
pub struct FileSink {
    stop: Arc<AtomicBool>,
    /// Whether to stop when everything is read.
    at_end: Arc<AtomicBool>,
    health: SinkHealth,
    thread: Option<JoinHandle<Result<()>>>,
}

/// How a sink is, for whoever watches it.
#[derive(Clone, Debug)]
pub struct SinkHealth {
    sink: Arc<str>,
    error: Arc<Mutex<Option<String>>>,
}

impl SinkHealth {
    /// The sink's name.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Why it can't write at the moment.
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

impl FileSink {
    /// Starts where the sink of this name stopped before. The relation's format is [`Format::Arrow`].
    pub fn spawn(
        log: Arc<dyn Log>,
        relation: Relation,
        folder: PathBuf,
        format: FileFormat,
        limits: Limits,
    ) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|error| EmitError::File {
            path: folder.clone(),
            reason: error.to_string(),
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let name = format!("sink {}", relation.name);
        let stopped = Arc::clone(&stop);
        let at_end = Arc::new(AtomicBool::new(false));
        let until_end = Arc::clone(&at_end);
        let health = SinkHealth {
            sink: Arc::clone(&relation.name),
            error: Arc::default(),
        };
        let told = health.clone();
        let work = move || {
            let mut work = Work {
                log,
                relation: Arc::new(relation),
                folder,
                format,
                limits,
                stop: stopped,
                at_end: until_end,
                health: told,
            };
            work.run()
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(|error| EmitError::Thread(error.to_string()))?;
        Ok(Self {
            stop,
            at_end,
            health,
            thread: Some(thread),
        })
    }

    /// How it is, from now on.
    pub fn health(&self) -> SinkHealth {
        self.health.clone()
    }

    /// Waits until everything that is stored now is in files, and ends.
    pub fn finish(mut self) -> Result<()> {
        self.at_end.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| EmitError::Panicked)?,
            None => Ok(()),
        }
    }

    /// Finishes the open files and ends.
    pub fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| EmitError::Panicked)?,
            None => Ok(()),
        }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::error!(%error, "a sink ended with an error");
        }
    }
}

struct Work {
    log: Arc<dyn Log>,
    relation: Arc<Relation>,
    folder: PathBuf,
    format: FileFormat,
    limits: Limits,
    stop: Arc<AtomicBool>,
    at_end: Arc<AtomicBool>,
    health: SinkHealth,
}

/// What is open since the group was joined.
struct Session {
    member: Box<dyn Member>,
    decoder: Box<dyn Decoder>,
    parts: BTreeMap<Partition, Part>,
}

impl Work {
    /// Writes until it is stopped; after a failure it begins again at the last committed offsets.
    fn run(&mut self) -> Result<()> {
        let mut attempts = LAST_ATTEMPTS;
        loop {
            match self.session() {
                Ok(()) => return Ok(()),
                Err(error) if self.stop.load(Ordering::Relaxed) || attempts <= 1 => return Err(error),
                Err(error) => {
                    tracing::error!(sink = &*self.relation.name, %error, "trying again from the last finished file");
                    self.health.set(Some(error.to_string()));
                }
            }
            if self.at_end.load(Ordering::Relaxed) {
                attempts -= 1;
            }
            thread::sleep(RETRY);
        }
    }

    fn session(&self) -> Result<()> {
        let (group, topics) = (self.group(), vec![Arc::clone(&self.relation.topic)]);
        let columns = Arc::clone(&self.relation.schema);
        let decoder = Format::Arrow.decoder(&self.relation.schema, columns);
        let mut session = Session {
            member: self.log.join(Membership::new(group, topics))?,
            decoder: decoder.map_err(|error| self.unreadable("the start", error.to_string()))?,
            parts: BTreeMap::new(),
        };
        while !self.stop.load(Ordering::Relaxed) {
            match session.member.poll(WAIT)? {
                Event::Batch(fetched) => self.take(&mut session, &fetched)?,
                Event::Revoked(partitions) => {
                    self.finish(&mut session, |partition, _| partitions.contains(&partition))?
                }
                Event::CaughtUp if self.at_end.load(Ordering::Relaxed) => break,
                Event::Assigned(partitions) => self.begin(&mut session, &partitions)?,
                Event::CaughtUp | Event::Nothing => {}
            }
            self.finish(&mut session, |_, part| part.is_due(&self.limits))?;
        }
        self.finish(&mut session, |_, _| true)
    }

    fn group(&self) -> Arc<str> {
        format!("{}.files", self.relation.name).into()
    }

    /// Commits where to begin, where nothing was written yet.
    fn begin(&self, session: &mut Session, partitions: &[Partition]) -> Result<()> {
        for &number in partitions {
            part::clear(&self.folder, &self.relation, number)?;
            let partition = TopicPartition::new(Arc::clone(&self.relation.topic), number);
            if self.log.committed(&self.group(), &partition)?.is_some() {
                continue;
            }
            if let Some(path) = part::any(&self.folder, &self.relation, number)? {
                let sink = Arc::clone(&self.relation.name);
                return Err(EmitError::Foreign { sink, path });
            }
            let start = self.log.offsets(&partition)?.start;
            self.commit(session, partition, start)?;
        }
        Ok(())
    }

    /// Commits that all before an offset is in files; whether the partition is still ours.
    fn commit(&self, session: &mut Session, partition: TopicPartition, next: Offset) -> Result<bool> {
        let epoch = Epoch {
            offsets: vec![(partition, next)],
            appends: Vec::new(),
        };
        match session.member.commit(epoch) {
            Ok(()) => Ok(true),
            // Whoever has the partition now writes the same file again.
            Err(CommitError::Fenced(_)) => Ok(false),
            Err(CommitError::Log(error)) => Err(error.into()),
        }
    }

    fn take(&self, session: &mut Session, fetched: &Fetched) -> Result<()> {
        let decoded = session.decoder.decode(&fetched.batch);
        let decoded = decoded.map_err(|error| self.unreadable("its format", error.to_string()))?;
        if let Some(bad) = decoded.bad.first() {
            let place = format!(
                "partition {}, offset {}",
                fetched.from.partition,
                fetched.base_offset + bad.record as Offset
            );
            return Err(self.unreadable(&place, bad.reason.clone()));
        }
        let part = session
            .parts
            .entry(fetched.from.partition)
            .or_insert_with(|| Part::new(fetched.base_offset));
        part.push(decoded.rows, fetched.next_offset());
        Ok(())
    }

    /// Writes and commits the open files for which it is time.
    fn finish(&self, session: &mut Session, is_time: impl Fn(Partition, &Part) -> bool) -> Result<()> {
        let due: Vec<_> = session
            .parts
            .iter()
            .filter(|(number, part)| is_time(**number, part))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            let Some(part) = session.parts.remove(&number) else {
                continue;
            };
            let written = part.write(&self.folder, &self.relation, number, self.format)?;
            let partition = TopicPartition::new(Arc::clone(&self.relation.topic), number);
            // Who stood still for long while another took over must not replace a file of that one: to commit once more where the part
            // begins fails then.
            if !self.commit(session, partition.clone(), part.first())? {
                continue;
            }
            written.publish()?;
            if self.commit(session, partition.clone(), part.next())? {
                self.log.delete_before(&partition, part.next())?;
            }
            self.health.set(None);
        }
        Ok(())
    }

    fn unreadable(&self, place: &str, reason: String) -> EmitError {
        EmitError::Records {
            sink: Arc::clone(&self.relation.name),
            place: place.to_owned(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
