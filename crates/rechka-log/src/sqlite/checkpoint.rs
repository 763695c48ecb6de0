//! Moving what is committed from the WAL into the file, beside the writer.
//!
//! A checkpoint takes tens of milliseconds; in the writer thread it would stand in the way of every commit. SQLite lets
//! another connection do it while the writer goes on, but then the WAL is never found complete and grows. So: this thread
//! copies whenever enough has come, and only when the WAL has become long the writer waits for one last short pass, after
//! which SQLite starts the WAL from its beginning again.
//!
//! How long the WAL is, SQLite tells after every commit (<https://www.sqlite.org/c3ref/wal_hook.html>): nothing that is
//! written goes uncounted, and what a killed process left is found with the first commit.
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use super::schema;
use crate::{LogError, Result};

/// New bytes in the WAL that start a pass.
const PASS_BYTES: u64 = 16 << 20;
/// Bytes in the WAL from which on the writer waits for a pass.
const WAL_BYTES: u64 = 256 << 20;
/// A page in the WAL, with its header.
const FRAME_BYTES: u64 = schema::PAGE_BYTES as u64 + 24;
/// How long a pass that the writer waits for waits itself for readers of the WAL. Those of the log are done at once.
const READERS_WAIT: Duration = Duration::from_millis(100);

/// The checkpoint thread. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes committed since the last pass began.
    fresh: u64,
    /// Bytes in the WAL after the last commit.
    wal: u64,
    /// Bytes in the WAL from which on the writer waits: more than [`WAL_BYTES`] while a reader holds the WAL back.
    limit: u64,
    /// The writer waits for a pass.
    urgent: bool,
    closed: bool,
}

impl Checkpointer {
    /// Looks after what `writer` commits.
    pub(super) fn start(directory: &Path, writer: &mut Connection) -> Result<Self> {
        let connection = schema::writer(directory)?;
        connection.busy_timeout(READERS_WAIT)?;
        let progress = Arc::new(Progress {
            state: Mutex::new(State {
                // A former process may have left a long WAL.
                fresh: PASS_BYTES,
                wal: 0,
                limit: WAL_BYTES,
                urgent: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let committed = Arc::clone(&progress);
        writer.wal_hook(Some(move |_: &mut _, pages| {
            committed.committed(u64::try_from(pages).unwrap_or(0) * FRAME_BYTES);
            Ok(())
        }))?;
        let passes = Arc::clone(&progress);
        let thread = thread::Builder::new()
            .name("log-checkpoint".to_owned())
            .spawn(move || passes.run(&connection))
            .map_err(|error| LogError::Storage(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            progress,
            thread: Some(thread),
        })
    }

    /// Called before the writer begins a transaction. Waits only when the WAL has become long.
    pub(super) fn keep_up(&self) {
        let mut state = self.progress.lock();
        if state.wal < state.limit {
            return;
        }
        state.urgent = true;
        self.progress.changed.notify_all();
        while state.urgent && !state.closed {
            state = self
                .progress
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asks for a pass now, without waiting for it.
    pub(super) fn hurry(&self) {
        self.progress.lock().urgent = true;
        self.progress.changed.notify_all();
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer has committed; so long is the WAL now.
    fn committed(&self, wal: u64) {
        let mut state = self.lock();
        if wal < state.wal {
            // It was started from its beginning.
            state.wal = 0;
            state.limit = WAL_BYTES;
        }
        state.fresh += wal - state.wal;
        state.wal = wal;
        if state.fresh >= PASS_BYTES {
            self.changed.notify_all();
        }
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
            // RESTART also waits for the readers of the WAL, without which it cannot be started from its beginning. Either
            // may fail, for example on a full disk: the WAL keeps what it has, and the next pass tries again.
            let pass = if urgent {
                "PRAGMA wal_checkpoint(RESTART)"
            } else {
                "PRAGMA wal_checkpoint(PASSIVE)"
            };
            let _ = connection.query_row(pass, [], |_| Ok(()));
            if urgent {
                let mut state = self.lock();
                state.urgent = false;
                // If it was in vain, the writer does not wait again at once.
                state.limit = WAL_BYTES.max(state.wal + PASS_BYTES);
                self.changed.notify_all();
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.progress.lock().closed = true;
        self.progress.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        schema::create_if_absent(directory.path()).unwrap();
        let connection = schema::writer(directory.path()).unwrap();
        (directory, connection)
    }

    fn commit(connection: &Connection) {
        let insert = "INSERT INTO blob (data) VALUES (zeroblob(200000))";
        connection.execute_batch(insert).unwrap();
    }

    fn commit_little(connection: &Connection) {
        let insert = "INSERT OR REPLACE INTO committed VALUES ('group', 1, 1)";
        connection.execute_batch(insert).unwrap();
    }

    fn blobs(connection: &Connection) -> i64 {
        connection
            .query_row("SELECT count(*) FROM blob", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn every_page_counts_and_so_does_what_was_there_before() {
        let (directory, mut connection) = file();
        for _ in 0..5 {
            commit(&connection);
        }
        // While it reads, the WAL is not started from its beginning.
        let reader = schema::reader(directory.path()).unwrap();
        let snapshot = reader.unchecked_transaction().unwrap();
        assert_eq!(blobs(&snapshot), 5);
        let checkpointer = Checkpointer::start(directory.path(), &mut connection).unwrap();
        commit_little(&connection);
        let wal = std::fs::metadata(directory.path().join("log.sqlite-wal"))
            .unwrap()
            .len();
        let state = checkpointer.progress.lock();
        assert!(wal > 1_000_000);
        assert!(wal - state.wal < 1000, "{wal} {state:?}");
    }

    #[test]
    fn a_long_wal_starts_again_from_its_beginning() {
        let (directory, mut connection) = file();
        let checkpointer = Checkpointer::start(directory.path(), &mut connection).unwrap();
        commit(&connection);
        let long = checkpointer.progress.lock().wal;
        checkpointer.progress.lock().limit = 0;
        checkpointer.keep_up();
        commit_little(&connection);
        let state = checkpointer.progress.lock();
        assert!(state.wal < long, "{state:?}");
        assert_eq!(state.limit, WAL_BYTES);
    }

    #[test]
    fn a_reader_holds_the_wal_back_but_not_the_writer() {
        let (directory, mut connection) = file();
        let checkpointer = Checkpointer::start(directory.path(), &mut connection).unwrap();
        commit(&connection);
        let reader = schema::reader(directory.path()).unwrap();
        let snapshot = reader.unchecked_transaction().unwrap();
        assert_eq!(blobs(&snapshot), 1);
        commit(&connection);
        let held = checkpointer.progress.lock().wal;
        checkpointer.progress.lock().limit = 0;
        checkpointer.keep_up();
        commit(&connection);
        assert!(checkpointer.progress.lock().wal > held, "the reader still needs it");
        assert_eq!(blobs(&snapshot), 1);
        drop(snapshot);
        checkpointer.progress.lock().limit = 0;
        checkpointer.keep_up();
        commit_little(&connection);
        assert!(checkpointer.progress.lock().wal < held);
    }
}
