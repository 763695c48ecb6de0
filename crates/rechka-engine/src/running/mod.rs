//! Running queries: topics, threads, restarts, the end.
mod options;
mod slot;
mod topics;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use rechka_log::Log;
use rechka_sql::plan::Query;

pub use options::{Reading, RunOptions};
use slot::Slot;

use crate::{
    EngineError, Result,
    stage::{StageContext, context, fingerprints},
    statistics::{Meter, Statistics},
};

/// A query on threads of its own. Dropping it stops it.
pub struct RunningQuery {
    log: Arc<dyn Log>,
    meter: Arc<Meter>,
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of a query tell each other.
#[derive(Default)]
pub(crate) struct Control {
    stop: Arc<AtomicBool>,
    error: Mutex<Option<EngineError>>,
}

impl Control {
    /// Ends the query with an error. The first counts.
    fn give_up(&self, error: EngineError) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs a query over the log: makes the topics that are missing, and starts its tasks, which go on where those before them
/// stopped. A task that fails starts again from its last committed epoch.
///
/// Fails if a topic is there with another number of partitions, or the query can't be run at all.
pub fn run(log: Arc<dyn Log>, query: Query, options: RunOptions) -> Result<RunningQuery> {
    let query = Arc::new(query);
    let stages = (0..query.stages.len()).map(|number| {
        let stage = &query.stages[number];
        Ok((context::topics(&query, stage)?, context::tasks(&query, stage)?))
    });
    let stages = stages.collect::<Result<Vec<_>>>()?;
    if stages.last().map(|(_, tasks)| *tasks) != Some(query.result.partitions) {
        return Err(EngineError::Query(format!(
            "{:?} has {} partitions, but its last stage has another number of tasks",
            query.name, query.result.partitions
        )));
    }
    topics::ensure(&*log, &query, &stages)?;
    let ends = match options.reading {
        Reading::ToTheEnd => Some(Arc::new(topics::stream_ends(&*log, &query)?)),
        Reading::ForEver => None,
    };
    let begins = Arc::new(topics::exchange_ends(&*log, &query)?);
    let names = |topics: &[(Arc<str>, Vec<usize>)]| topics.iter().map(|(topic, _)| topic.clone()).collect();
    let metered = stages.iter().map(|(topics, tasks)| (names(topics), *tasks));
    let meter = Arc::new(Meter::new(query.name.clone(), metered.collect()));
    let control = Arc::new(Control::default());
    let fingerprints = fingerprints(&query);
    let mut slots = Vec::new();
    for (number, (topics, tasks)) in stages.into_iter().enumerate() {
        let stage = &query.stages[number];
        let context = Arc::new(StageContext {
            log: log.clone(),
            number,
            fingerprint: fingerprints[number],
            topics,
            sources: context::sources(&query, stage)?,
            state: context::state(&query, number),
            processing_time: context::processing_time(stage),
            ends: ends.clone(),
            begins: begins.clone(),
            new_operator: options.new_operator.clone(),
            snapshot_bytes: options.snapshot_bytes,
            purge: options.purge,
            clock: options.clock.clone(),
            failpoint: options.failpoint.clone(),
            meter: meter.clone(),
            stop: control.stop.clone(),
            query: query.clone(),
        });
        // All join before any polls, so that no partition is given to one and taken away again.
        for _ in 0..tasks.min(options.parallelism.max(1)) {
            slots.push(Slot::new(context.clone(), options.clone(), control.clone())?);
        }
    }
    let mut running = RunningQuery {
        log,
        meter,
        control,
        threads: Vec::new(),
    };
    for slot in slots {
        let thread = thread::Builder::new().name(format!("query {}", query.name));
        let thread = thread.spawn(move || slot.run());
        let thread = thread.map_err(|error| EngineError::Thread(error.to_string()))?;
        running.threads.push(thread);
    }
    Ok(running)
}

impl RunningQuery {
    /// How it goes.
    pub fn statistics(&self) -> Statistics {
        self.meter.statistics(&*self.log)
    }

    /// Whether tasks still run.
    pub fn is_running(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_finished())
    }

    /// Waits until the query has ended by itself: at the end of its input, or because it gave up.
    pub fn wait(mut self) -> Result<()> {
        self.join()
    }

    /// Stops after the current epoch, commits it, and says why it stopped before if it did.
    pub fn stop(mut self) -> Result<()> {
        self.control.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| EngineError::Panicked)?;
        }
        let mut error = self.control.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.take().map_or(Ok(()), Err)
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Relaxed);
        // The threads have reported their errors.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests;
