//! Whether the cluster answers: looked at now and then, so that an idle program knows it too.
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::consumer::Consumer;

use super::shared::Shared;
use crate::{LogError, Result};

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is asked for: a topic that need not exist, as the answer is short then.
const TOPIC: &str = "rechka.pipelines";

/// The thread that looks. Dropping it ends it.
pub(super) struct Watch {
    closed: Arc<Closed>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Closed {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Watch {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self> {
        let closed = Arc::<Closed>::default();
        let until = Arc::clone(&closed);
        let thread = thread::Builder::new()
            .name("kafka-watch".to_owned())
            .spawn(move || {
                while !until.within(EVERY) {
                    match shared.lookup().fetch_metadata(Some(TOPIC), PATIENCE) {
                        Ok(_) => shared.connection.answered(),
                        Err(error) => shared.connection.silent(error),
                    }
                }
            })
            .map_err(|error| LogError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            closed,
            thread: Some(thread),
        })
    }
}

impl Closed {
    /// Whether it is closed, or was within this time.
    fn within(&self, time: Duration) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(closed, time, |closed| !*closed);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.closed.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.closed.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
