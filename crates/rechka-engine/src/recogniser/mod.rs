//! Audio to transcripts, exactly once.
//!
//! ```text
//!  audio-stream ──▶ sessions ──▶ model, one batch over all that is due ──▶ transcripts       ┐
//!       ▲                                                              ├─▶ recogniser.state  ├ one transaction
//!       └─ read again from the state's offset after a crash            └─▶ offsets           ┘
//!                                                                      └─▶ transcripts.partial, by itself
//! ```
//!
//! The final transcripts are a function of the audio alone: not of how it was batched, how long anything took, or where
//! the process died. Audio that can't be used goes to the dead letters, and what is missing for that is reported as failed.
mod config;
mod metrics;
mod model;
mod operator;
mod outbox;
mod record;
mod slot;
mod stored;
mod stream;
mod topics;
mod transcripts;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rechka_log::Log;

pub use config::{Config, NewDetector};
pub use metrics::Metrics;
pub use model::Model;
pub use stored::STATE;

use crate::{EngineError, Result, Settings, Task};
use operator::Recognition;

/// An epoch without output lasts at most this long.
const LONGEST_EPOCH: Duration = Duration::from_secs(1);

/// A recogniser on a thread of its own. Dropping it stops it.
pub struct Recogniser {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    metrics: Arc<Metrics>,
}

impl Recogniser {
    /// Starts recognising what comes into [`rechka_types::topics::AUDIO`]. Makes the topics that are missing.
    pub fn spawn<M: Model + ?Sized>(log: Arc<dyn Log>, model: Arc<M>, config: Config) -> Result<Self> {
        topics::ensure(&*log, config.partitions)?;
        let metrics = Arc::new(Metrics::default());
        let stop = Arc::new(AtomicBool::new(false));
        let group = config.group.clone();
        let operator = Recognition::new(log.clone(), model, config, metrics.clone());
        let task = Task::new(
            log,
            Settings::new(group, rechka_types::topics::AUDIO.into(), LONGEST_EPOCH),
            operator,
        )?;
        let (stopped, counted) = (stop.clone(), metrics.clone());
        let work = move || {
            let result = task.run(&stopped);
            if let Err(error) = &result {
                tracing::error!(%error, "the recogniser stopped");
                counted.set_error(Some(error.to_string()));
            }
            result
        };
        let thread = thread::Builder::new().name("recogniser".into()).spawn(work);
        let thread = thread.map_err(|error| EngineError::Thread(error.to_string()))?;
        Ok(Recogniser {
            stop,
            thread: Some(thread),
            metrics,
        })
    }

    /// What is counted.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops after the current batch, commits what was done, and says why it stopped before if it did.
    pub fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .map_or(Ok(()), |thread| thread.join().unwrap_or(Err(EngineError::Panicked)))
    }
}

impl Drop for Recogniser {
    fn drop(&mut self) {
        // The thread has reported its error.
        let _ = self.join();
    }
}
