//! The thread that reads a view's topic.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rechka_log::{Fetched, Log, LogError, Reader, TopicPartition};

use super::{partition::Partition, to_json::ToJson, view::View};
use crate::{Result, StoreError};

/// How often the thread looks whether it shall stop. Records wake it at once.
const LOOK: Duration = Duration::from_millis(100);
/// How long the thread waits after an error of the log before it reads on.
const RETRY: Duration = Duration::from_secs(1);

/// Follows one view until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Follower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread.
    pub(super) fn start(log: Arc<dyn Log>, view: Arc<View>) -> Result<Self> {
        let mut work = Work::new(log, view)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("view".into())
            .spawn(move || work.run(&stopped))
            .map_err(|error| StoreError::Thread(error.to_string()))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Tells the thread to end; dropping waits for it.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a view has failed");
        }
    }
}

struct Work {
    log: Arc<dyn Log>,
    view: Arc<View>,
    reader: Box<dyn Reader>,
    /// What was read and could not be taken yet.
    pending: Option<Fetched>,
    to_json: Option<ToJson>,
    partitions: Vec<Partition>,
    ready: bool,
}

impl Work {
    fn new(log: Arc<dyn Log>, view: Arc<View>) -> Result<Self> {
        let relation = view.relation();
        let to_json = ToJson::of(relation)?;
        let (mut from, mut partitions) = (Vec::new(), Vec::new());
        for number in 0..relation.partitions {
            let name = TopicPartition::new(relation.topic.clone(), number);
            let kept = log.offsets(&name)?;
            partitions.push(Partition::new(kept.start, kept.end));
            from.push((name, kept.start));
        }
        let mut work = Self {
            reader: log.read(from)?,
            pending: None,
            to_json,
            log,
            view,
            partitions,
            ready: false,
        };
        for number in 0..work.partitions.len() {
            work.progress(number, 0);
        }
        Ok(work)
    }

    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match self.step() {
                Ok(()) => {}
                Err(StoreError::Log(LogError::UnknownTopic(_))) => {
                    return self
                        .view
                        .end(&StoreError::Dropped(self.view.relation().name.to_string()));
                }
                Err(error @ (StoreError::TooLarge { .. } | StoreError::Log(LogError::Closed))) => {
                    tracing::error!(view = &*self.view.relation().name, %error, "a view can't be followed any more");
                    return self.view.end(&error);
                }
                // Disks recover.
                Err(error) => {
                    tracing::warn!(view = &*self.view.relation().name, %error, "a view can't be read; trying again");
                    thread::sleep(RETRY);
                }
            }
        }
    }

    fn step(&mut self) -> Result<()> {
        let next = match self.pending.take() {
            None => self.reader.poll(LOOK)?,
            pending => pending,
        };
        match next {
            Some(fetched) => self.take(&fetched).inspect_err(|_| self.pending = Some(fetched)),
            None => Ok(()),
        }
    }

    fn take(&mut self, fetched: &Fetched) -> Result<()> {
        let number = fetched.from.partition as usize;
        let (rows, malformed) = match &mut self.to_json {
            Some(to_json) => {
                let (batch, unread) = to_json.convert(&fetched.batch)?;
                let (rows, malformed) = self.view.stage(&batch);
                (rows, malformed + unread)
            }
            None => self.view.stage(&fetched.batch),
        };
        if malformed > 0 {
            let (view, offset) = (&*self.view.relation().name, fetched.base_offset);
            tracing::warn!(
                view,
                malformed,
                offset,
                "records that are no rows of the view were passed over"
            );
        }
        let end = self.log.offsets(&fetched.from)?.end;
        let mut result = Ok(());
        if let Some(partition) = self.partitions.get_mut(number) {
            partition.take(fetched, rows, end, !self.ready, |rows| {
                if result.is_ok() {
                    result = self.view.apply(rows);
                }
            });
        }
        result?;
        self.progress(number, malformed);
        Ok(())
    }

    fn progress(&mut self, number: usize, malformed: u64) {
        self.ready = self.ready || self.partitions.iter().all(Partition::is_settled);
        if let Some(partition) = self.partitions.get(number) {
            self.view
                .advance(number as u32, partition.shown(), self.ready, malformed);
        }
    }
}
