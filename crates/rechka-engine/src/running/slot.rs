//! A thread of a stage.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rechka_log::LogError;

use super::{Control, RunOptions};
use crate::{
    EngineError, Result, Settings, Task,
    stage::{StageContext, StageProcessor, context},
};

/// The longest pause before a task starts again.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// How often a pausing thread looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);

/// Runs tasks of a stage, one after another as they fail.
pub(super) struct Slot {
    context: Arc<StageContext>,
    options: RunOptions,
    control: Arc<Control>,
    /// The first task, which has joined its group already.
    task: Option<Task<StageProcessor>>,
}

impl Slot {
    pub fn new(context: Arc<StageContext>, options: RunOptions, control: Arc<Control>) -> Result<Self> {
        let mut slot = Slot {
            context,
            options,
            control,
            task: None,
        };
        slot.task = Some(slot.new_task()?);
        Ok(slot)
    }

    fn new_task(&self) -> Result<Task<StageProcessor>> {
        let context = &self.context;
        let settings = Settings {
            group: context::group(&context.query, context.number),
            topics: context.topics.iter().map(|(topic, _)| topic.clone()).collect(),
            epoch: self.options.epoch,
            delivery: self.options.delivery,
            ends: context.ends.clone().unwrap_or_default(),
            failpoint: self.options.failpoint.clone(),
        };
        Task::new(context.log.clone(), settings, StageProcessor::new(context.clone())?)
    }

    /// Until the query is stopped, has ended, or gives up.
    pub fn run(mut self) {
        while !self.stopped() {
            let task = self.task.take().map_or_else(|| self.new_task(), Ok);
            let run = || task.and_then(|task| task.run(&self.control.stop));
            let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(EngineError::Panicked));
            if let Err(error) = result {
                self.failed(error);
            }
        }
    }

    fn failed(&self, error: EngineError) {
        let (query, stage) = (&*self.context.query.name, self.context.number);
        tracing::error!(query, stage, %error, "a task failed");
        let failures = self.context.meter.restarts(error.to_string());
        let last = self.options.attempts.is_some_and(|attempts| failures >= attempts);
        let hopeless = matches!(error, EngineError::Log(LogError::Closed) | EngineError::Unfit { .. });
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
