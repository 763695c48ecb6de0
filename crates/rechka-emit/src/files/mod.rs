//! Rows into files: each row in exactly one, whatever happens.
//!
//! A file holds the rows of one partition from an offset on, which is in its name. It is written under a name of its own, synced, and
//! only then renamed; after that the group's offset is committed. Whoever dies in between begins again at the same offset, so with the same
//! name, and replaces the file.
mod part;
mod writer;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
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
    thread: Option<JoinHandle<Result<()>>>,
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
        let work = move || {
            let mut work = Work {
                log,
                relation: Arc::new(relation),
                folder,
                format,
                limits,
                stop: stopped,
                at_end: until_end,
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
            thread: Some(thread),
        })
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
        loop {
            match self.session() {
                Ok(()) => return Ok(()),
                Err(error) if self.stop.load(Ordering::Relaxed) => return Err(error),
                Err(error) => {
                    tracing::error!(sink = &*self.relation.name, %error, "trying again from the last finished file")
                }
            }
            thread::sleep(RETRY);
        }
    }

    fn session(&self) -> Result<()> {
        let (group, topics) = (
            format!("{}.files", self.relation.name).into(),
            vec![Arc::clone(&self.relation.topic)],
        );
        let columns = Arc::clone(&self.relation.schema);
        let decoder = Format::Arrow.decoder(&self.relation.schema, columns);
        let mut session = Session {
            member: self.log.join(Membership { group, topics })?,
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
                Event::Assigned(_) | Event::CaughtUp | Event::Nothing => {}
            }
            self.finish(&mut session, |_, part| part.is_due(&self.limits))?;
        }
        self.finish(&mut session, |_, _| true)
    }

    fn take(&self, session: &mut Session, fetched: &Fetched) -> Result<()> {
        let decoded = session.decoder.decode(&fetched.batch);
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
            part.write(&self.folder, &self.relation, number, self.format)?;
            let partition = TopicPartition::new(Arc::clone(&self.relation.topic), number);
            let epoch = Epoch {
                offsets: vec![(partition.clone(), part.next())],
                appends: Vec::new(),
            };
            match session.member.commit(epoch) {
                Ok(()) => self.log.delete_before(&partition, part.next())?,
                // Whoever has the partition now writes the same file again.
                Err(CommitError::Fenced(_)) => {}
                Err(CommitError::Log(error)) => return Err(error.into()),
            }
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
