//! One transactional id and its producers, one after another.
use std::sync::Arc;

use super::{
    shared::Shared,
    transaction::{Failure, GroupOffsets, Producer, Written},
};
use crate::Append;

/// Writes one transaction after another, and never the same one twice.
pub(super) struct Transactor {
    shared: Arc<Shared>,
    /// Stays the same, so that the next producer settles what the one before left open.
    id: String,
    producer: Option<Producer>,
    /// Where the last attempt went, if it may have been committed.
    unsettled: Option<Vec<Written>>,
}

impl Transactor {
    /// `what` stands in the transactional id.
    pub(super) fn new(shared: Arc<Shared>, what: &str) -> Self {
        Self {
            id: shared.transactional_id(what),
            shared,
            producer: None,
            unsettled: None,
        }
    }

    /// Tries to commit. After a failure that another attempt may mend, the next attempt must be the same transaction, or
    /// [`Transactor::give_up`] be called before.
    pub(super) fn attempt(
        &mut self,
        appends: &[&Append],
        offsets: Option<GroupOffsets<'_>>,
        may_commit: impl Fn() -> bool,
    ) -> Result<Vec<Written>, Failure> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => Producer::open(&self.shared.connection, &self.id).map_err(Failure::Broken)?,
        };
        // With this producer the one before has settled: what it wrote is there or not. Offsets alone may be written twice.
        if let (Some(written), Some(append)) = (&self.unsettled, appends.first())
            && let Some(offsets) = written.first()
        {
            let committed = match self.shared.holds(&append.to, offsets.start) {
                Ok(committed) => committed,
                Err(error) => {
                    self.producer = Some(producer);
                    return Err(Failure::Aborted(error));
                }
            };
            let written = self.unsettled.take();
            if let Some(written) = written.filter(|_| committed) {
                self.producer = Some(producer);
                return Ok(self.wrote(appends, written));
            }
        }
        let result = producer.transact(&self.shared.parts(appends), offsets, may_commit);
        match &result {
            Err(Failure::Unknown(_)) => self.unsettled = Some(producer.last_delivered()),
            Err(Failure::Refused(error)) => self.shared.learn(error),
            _ => {}
        }
        if !producer.is_spent() {
            self.producer = Some(producer);
        }
        result.map(|written| self.wrote(appends, written))
    }

    /// The next transaction is another one.
    pub(super) fn give_up(&mut self) {
        self.unsettled = None;
    }

    fn wrote(&self, appends: &[&Append], written: Vec<Written>) -> Vec<Written> {
        for (append, offsets) in appends.iter().zip(&written) {
            self.shared.ends.wrote(&append.to, offsets.end);
        }
        written
    }
}
