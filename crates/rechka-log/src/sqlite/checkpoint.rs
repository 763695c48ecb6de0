//! Moving what is committed from the WAL into the file, beside the writer.
//!
//! A checkpoint takes tens of milliseconds; in the writer thread it would stand in the way of every commit. SQLite lets
//! another connection do it while the writer goes on, but then the WAL is never found complete and grows. So: this thread
//! copies whenever enough has come, and only when the WAL has become long the writer waits for one last short pass, after
//! which SQLite starts the WAL from its beginning again.
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use super::schema;
use crate::{LogError, Result};

/// New bytes in the WAL that start a pass.
const PASS_BYTES: u64 = 16 << 20;
/// Bytes in the WAL from which on the writer waits for a pass.
const WAL_BYTES: u64 = 256 << 20;

/// The checkpoint thread. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes committed since the last pass began.
    fresh: u64,
    /// Bytes committed since the WAL was last known to be complete.
    wal: u64,
    /// The writer waits for a pass.
    urgent: bool,
    closed: bool,
}

impl Checkpointer {
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let connection = schema::writer(directory)?;
        let shared = Arc::new(Progress::default());
        let progress = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log-checkpoint".to_owned())
            .spawn(move || progress.run(&connection))
            .map_err(|error| LogError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// The writer has committed so many bytes. Waits only when the WAL has become long.
    pub(super) fn committed(&self, bytes: u64) {
        let mut state = self.shared.lock();
        state.fresh += bytes;
        state.wal += bytes;
        if state.fresh >= PASS_BYTES {
            self.shared.changed.notify_all();
        }
        if state.wal < WAL_BYTES {
            return;
        }
        state.urgent = true;
        self.shared.changed.notify_all();
        while state.urgent && !state.closed {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asks for a pass now, without waiting for it.
    pub(super) fn hurry(&self) {
        self.shared.lock().urgent = true;
        self.shared.changed.notify_all();
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, connection: &Connection) {
        loop {
            let urgent = {
                let mut state = self.lock();
                while state.fresh < PASS_BYTES && !state.urgent && !state.closed {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.closed {
                    return;
                }
                state.fresh = 0;
                state.urgent
            };
            // It may fail, for example on a full disk: the WAL keeps what it has, and the next pass tries again.
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            let mut state = self.lock();
            if urgent || state.fresh == 0 {
                state.wal = state.fresh;
            }
            if urgent {
                state.urgent = false;
                self.changed.notify_all();
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
