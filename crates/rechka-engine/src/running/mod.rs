//! Running queries: topics, threads, restarts, the end.
mod options;
mod slot;
mod topics;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rechka_log::{Log, LogError, Offset, Partition, TopicPartition};
use rechka_sql::plan::{Query, Transcribe};

pub use options::{Reading, RunOptions, Standbys};
use slot::Slot;

use crate::{
    EngineError, Processor, Result, Settings,
    recogniser::{self, Metrics, Recognition, Report},
    stage::{
        StageContext, StageProcessor,
        context::{self, Topics},
        fingerprints, standby,
    },
    statistics::{Meter, Statistics},
};

/// An epoch of a recognition that has nothing to say lasts so long at least: each writes what changed of the sessions.
const RECOGNITION_EPOCH: Duration = Duration::from_secs(1);

/// A query on threads of its own. Dropping it stops it.
pub struct RunningQuery {
    log: Arc<dyn Log>,
    meter: Arc<Meter>,
    control: Arc<Control>,
    recognition: Option<Arc<Metrics>>,
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
    let launch = Launch {
        meter: Arc::new(Meter::new(query.name.clone(), metered.collect())),
        control: Arc::new(Control::default()),
        fingerprints: fingerprints(&query),
        log,
        query,
        options,
        ends,
        begins,
    };
    let (mut slots, mut followed) = (Vec::new(), Vec::new());
    let mut recognition = None;
    for (number, (topics, tasks)) in stages.into_iter().enumerate() {
        match launch.query.stages[number].transcribes() {
            Some(transcribe) => {
                let metrics = Arc::new(Metrics::default());
                slots.push(launch.recognition(number, transcribe, &metrics)?);
                recognition = Some(metrics);
            }
            None => {
                let context = Arc::new(launch.context(number, topics)?);
                slots.extend(launch.stage(&context, tasks)?);
                followed.extend(context.standbys.is_some().then_some(context));
            }
        }
    }
    let mut running = RunningQuery {
        log: launch.log,
        meter: launch.meter,
        control: launch.control,
        recognition,
        threads: Vec::new(),
    };
    for slot in slots {
        running.spawn(format!("query {}", launch.query.name), move || slot.run())?;
    }
    for context in followed {
        running.spawn(format!("standbys {}", launch.query.name), move || {
            standby::follow(&context)
        })?;
    }
    Ok(running)
}

/// What the stages of a query that is started have in common.
struct Launch {
    log: Arc<dyn Log>,
    query: Arc<Query>,
    /// Of each stage.
    fingerprints: Vec<u64>,
    options: RunOptions,
    ends: Option<Arc<BTreeMap<TopicPartition, Offset>>>,
    begins: Arc<BTreeMap<TopicPartition, Offset>>,
    meter: Arc<Meter>,
    control: Arc<Control>,
}

impl Launch {
    /// What the tasks of a stage of operators have in common.
    fn context(&self, number: usize, topics: Topics) -> Result<StageContext> {
        let (query, options) = (&self.query, &self.options);
        let stage = &query.stages[number];
        let state = context::state(query, number);
        let keeps = options.standbys == Standbys::One && options.reading == Reading::ForEver && state.is_some();
        Ok(StageContext {
            log: self.log.clone(),
            number,
            fingerprint: self.fingerprints[number],
            topics,
            sources: context::sources(query, stage)?,
            state,
            processing_time: context::processing_time(stage),
            ends: self.ends.clone(),
            begins: self.begins.clone(),
            new_operator: options.new_operator.clone(),
            snapshot_bytes: options.snapshot_bytes,
            purge: options.purge,
            clock: options.clock.clone(),
            failpoint: options.failpoint.clone(),
            meter: self.meter.clone(),
            stop: self.control.stop.clone(),
            standbys: keeps.then(|| Arc::new(standby::Standbys::new(options.worker.name()))),
            query: query.clone(),
        })
    }

    /// A stage of operators: a slot for each thread.
    fn stage(&self, context: &Arc<StageContext>, tasks: Partition) -> Result<Vec<Slot>> {
        let topics = context.topics.iter().map(|(topic, _)| topic.clone());
        let settings = self.settings(context.number, topics.collect(), self.options.epoch);
        // All join before any polls, so that no partition is given to one and taken away again.
        let slot = |number| {
            let context = context.clone();
            let settings = Settings {
                number,
                ..settings.clone()
            };
            self.slot(context.number, settings, move || {
                StageProcessor::new(context.clone(), number)
            })
        };
        (0..tasks.min(self.options.parallelism.max(1))).map(slot).collect()
    }

    /// A stage that recognises speech: one slot, so that the windows of all sessions go to the model together.
    fn recognition(&self, number: usize, transcribe: &Transcribe, metrics: &Arc<Metrics>) -> Result<Slot> {
        let audio = topics::audio(&self.query.stages[number])?;
        let topics = topics::of_recognition(&self.query, number)?;
        let config = recogniser::Config::new(
            self.query.name.clone(),
            transcribe,
            audio,
            topics,
            self.options.speech.clone(),
        )?;
        let epoch = self.options.epoch.max(RECOGNITION_EPOCH);
        let settings = self.settings(number, vec![audio.topic.clone()], epoch);
        let (log, metrics) = (self.log.clone(), metrics.clone());
        let (meter, ends, stop) = (self.meter.clone(), self.ends.clone(), self.control.stop.clone());
        self.slot(number, settings, move || {
            let report = Report {
                stage: number,
                meter: meter.clone(),
                ends: ends.clone(),
                stop: stop.clone(),
            };
            Ok(Recognition::new(
                log.clone(),
                config.clone(),
                metrics.clone(),
                Some(report),
            ))
        })
    }

    fn settings(&self, stage: usize, topics: Vec<Arc<str>>, epoch: Duration) -> Settings {
        Settings {
            group: context::group(&self.query, stage),
            worker: self.options.worker.clone(),
            number: 0,
            topics,
            epoch,
            delivery: self.options.delivery,
            ends: self.ends.clone().unwrap_or_default(),
            failpoint: self.options.failpoint.clone(),
        }
    }

    fn slot<P: Processor + 'static>(
        &self,
        stage: usize,
        settings: Settings,
        processor: impl Fn() -> Result<P> + Send + 'static,
    ) -> Result<Slot> {
        self.meter.joins(stage, settings.number);
        let own = (self.meter.clone(), self.options.clone(), self.control.clone());
        Slot::new(
            (self.query.name.clone(), stage),
            self.log.clone(),
            settings,
            processor,
            own,
        )
    }
}

impl RunningQuery {
    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name).spawn(work);
        self.threads
            .push(thread.map_err(|error| EngineError::Thread(error.to_string()))?);
        Ok(())
    }

    /// How it goes.
    pub fn statistics(&self) -> Statistics {
        self.meter.statistics(&*self.log)
    }

    /// Why it can't do its work now: what failed last, or that it waits for the group to give it its partitions.
    pub fn trouble(&self) -> Option<String> {
        self.meter.trouble(&*self.log)
    }

    /// What is counted while recognising, if the query does that.
    pub fn recognition(&self) -> Option<&Arc<Metrics>> {
        self.recognition.as_ref()
    }

    /// Whether it has ended because another process has the worker's name.
    pub fn is_refused(&self) -> bool {
        let error = self.control.error.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*error, Some(EngineError::Log(LogError::NameTaken { .. })))
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
