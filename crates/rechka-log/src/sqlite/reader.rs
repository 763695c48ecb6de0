//! The plain reader.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{cursor::Cursor, shared::Shared, signal::Signal};
use crate::{Fetched, Reader, Result};

/// A [`Reader`] of the embedded log.
#[derive(Debug)]
pub(super) struct SqliteReader {
    shared: Arc<Shared>,
    cursors: Vec<Cursor>,
    /// The cursor that was read last.
    turn: usize,
    signal: Arc<Signal>,
}

impl SqliteReader {
    pub(super) fn new(shared: Arc<Shared>, cursors: Vec<Cursor>) -> Self {
        let signal = Arc::new(Signal::default());
        for cursor in &cursors {
            shared.subscribe(cursor.partition(), &signal);
        }
        Self {
            shared,
            cursors,
            turn: 0,
            signal,
        }
    }
}

impl Reader for SqliteReader {
    fn poll(&mut self, wait: Duration) -> Result<Option<Fetched>> {
        let deadline = Instant::now().checked_add(wait);
        loop {
            self.signal.clear();
            for _ in 0..self.cursors.len() {
                self.turn = (self.turn + 1) % self.cursors.len();
                let cursor = &mut self.cursors[self.turn];
                if let Some(fetched) = self.shared.fetch(cursor)? {
                    return Ok(Some(fetched));
                }
            }
            if !self.shared.wait(&self.signal, deadline)? {
                return Ok(None);
            }
        }
    }
    fn is_at_end(&self) -> bool {
        true
    }
}
