//! A thread of a stage.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Log, LogError};

use super::{Control, RunOptions};
use crate::{EngineError, Processor, Result, Settings, Task, statistics::Meter};

/// The longest pause before a task starts again.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// How often a pausing thread looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);

/// A task that has joined its group, until it is told to stop.
type Ready = Box<dyn FnOnce(&AtomicBool) -> Result<()> + Send>;

/// Runs tasks of a stage, one after another as they fail.
pub(super) struct Slot {
    query: Arc<str>,
    stage: usize,
    meter: Arc<Meter>,
    options: RunOptions,
    control: Arc<Control>,
    new_task: Box<dyn Fn() -> Result<Ready> + Send>,
    /// The first task, which has joined its group already.
    task: Option<Ready>,
}

impl Slot {
    /// For a stage of a query; `processor` makes what its tasks run.
    pub fn new<P: Processor + 'static>(
        (query, stage): (Arc<str>, usize),
        log: Arc<dyn Log>,
        settings: Settings,
        processor: impl Fn() -> Result<P> + Send + 'static,
        (meter, options, control): (Arc<Meter>, RunOptions, Arc<Control>),
    ) -> Result<Self> {
        let new_task = move || -> Result<Ready> {
            let task = Task::new(Arc::clone(&log), settings.clone(), processor()?)?;
            Ok(Box::new(move |stop| task.run(stop)))
        };
        Ok(Slot {
            query,
            stage,
            meter,
            options,
            control,
            task: Some(new_task()?),
            new_task: Box::new(new_task),
        })
    }

    /// Until the query is stopped, has ended, or gives up.
    pub fn run(mut self) {
        while !self.stopped() {
            let task = self.task.take().map_or_else(|| (self.new_task)(), Ok);
            let run = || task.and_then(|task| task(&self.control.stop));
            let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(EngineError::Panicked));
            if let Err(error) = result {
                self.failed(error);
            }
        }
    }

    fn failed(&self, error: EngineError) {
        let (failures, told) = self.meter.restarts(error.to_string());
        match told {
            true => tracing::debug!(query = &*self.query, stage = self.stage, %error, "a task failed again"),
            false => tracing::error!(query = &*self.query, stage = self.stage, %error, "a task failed"),
        }
        let last = self.options.attempts.is_some_and(|attempts| failures >= attempts);
        let hopeless = matches!(
            error,
            EngineError::Log(LogError::Closed | LogError::NameTaken { .. }) | EngineError::Unfit { .. }
        );
        if last || hopeless {
            return self.control.give_up(error);
        }
        let doubled = self.options.restart_delay.saturating_mul(1 << (failures - 1).min(16));
        let (since, delay) = (Instant::now(), doubled.min(LONGEST_DELAY));
        while since.elapsed() < delay && !self.stopped() {
            thread::sleep(LOOK.min(delay));
        }
    }

    fn stopped(&self) -> bool {
        self.control.stop.load(Ordering::Relaxed)
    }
}
