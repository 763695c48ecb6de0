//! The sessions of other gateways over the same log.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::SessionRecord;
use crate::protocol::SessionId;

/// What is known of them.
#[derive(Default)]
pub(crate) struct Elsewhere(HashMap<SessionId, (SessionRecord, Instant)>);

impl Elsewhere {
    /// A gateway has written a session's record. Nothing must be heard of the session for `patience`, until it counts as left behind.
    pub fn heard(&mut self, id: SessionId, record: SessionRecord, now: Instant, patience: Duration) {
        match record.ended {
            true => drop(self.0.remove(&id)),
            false => drop(self.0.insert(id, (record, now + patience))),
        }
    }

    /// The record of a session that is open elsewhere.
    pub fn get(&self, id: &SessionId) -> Option<&SessionRecord> {
        self.0.get(id).map(|(record, _)| record)
    }

    /// A session is here from now on, or over.
    pub fn remove(&mut self, id: &SessionId) {
        self.0.remove(id);
    }

    /// The sessions whose gateways are gone.
    pub fn left_behind(&self, now: Instant) -> Vec<SessionRecord> {
        let silent = self.0.values().filter(|(_, until)| *until <= now);
        silent.map(|(record, _)| record.clone()).collect()
    }
}
