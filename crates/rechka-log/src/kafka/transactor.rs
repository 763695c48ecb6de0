//! One transactional id and its producers, one after another.
use std::sync::Arc;

use super::{
    shared::Shared,
    transaction::{BATCH_BYTES, Failure, GroupOffsets, Producer, Written},
};
use crate::{Append, LogError, Result, TopicPartition};

/// Writes one transaction after another, and never the same one twice.
pub(super) struct Transactor {
    shared: Arc<Shared>,
    /// Stays the same, so that the next producer settles what the one before left open.
    id: String,
    producer: Option<Producer>,
    /// How many bytes of records go to a partition at once; less where topics do not take as much as others.
    batch_bytes: usize,
    /// Whether it has begun a transaction.
    used: bool,
    /// Where the last attempt went, if it may have been committed.
    unsettled: Option<Vec<Written>>,
}

impl Transactor {
    /// Under a transactional id.
    pub(super) fn new(shared: Arc<Shared>, id: String) -> Self {
        Self {
            id,
            shared,
            producer: None,
            batch_bytes: BATCH_BYTES,
            used: false,
            unsettled: None,
        }
    }

    /// Takes the place of whoever had the transactional id before, and settles what was left open.
    pub(super) fn open(&mut self) -> Result<()> {
        if self.producer.is_none() {
            self.producer = Some(Producer::open(&self.shared.connection, &self.id, self.batch_bytes)?);
        }
        Ok(())
    }

    /// Waits until what was committed is complete everywhere: that a commit is answered means only that it is decided.
    pub(super) fn complete(&mut self) -> Result<()> {
        if self.used {
            self.producer = None;
            self.open()?;
            self.used = false;
        }
        Ok(())
    }

    /// Tries to commit. After a failure that another attempt may mend, the next attempt must be the same transaction, or
    /// [`Transactor::give_up`] be called before.
    pub(super) fn attempt(
        &mut self,
        appends: &[&Append],
        offsets: Option<GroupOffsets<'_>>,
        may_commit: impl Fn() -> bool,
    ) -> std::result::Result<Vec<Written>, Failure> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => Producer::open(&self.shared.connection, &self.id, self.batch_bytes).map_err(Failure::Broken)?,
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
        self.used = true;
        let result = producer.transact(&self.shared.parts(appends), offsets, may_commit);
        match &result {
            Err(Failure::Unknown(_)) => self.unsettled = Some(producer.last_delivered()),
            Err(Failure::Refused(error)) => self.shared.learn(error),
            _ => {}
        }
        if let Some(to) = producer.too_large.take() {
            return Err(self.shrink(&to, appends, producer.batch_bytes));
        }
        if !producer.is_spent() {
            self.producer = Some(producer);
        }
        let result = match result {
            Err(Failure::Aborted(error)) => Err(self.missing(appends).unwrap_or(Failure::Aborted(error))),
            other => other,
        };
        result.map(|written| self.wrote(appends, written))
    }

    /// A producer waits for topics that are gone. Whether one is, brokers say, if they answer.
    fn missing(&self, appends: &[&Append]) -> Option<Failure> {
        self.shared.connection.ready().ok()?;
        let missing = appends.iter().find_map(|append| {
            self.shared.topics.forget(&append.to.topic);
            let there = self.shared.topics.check(self.shared.lookup(), &append.to);
            let is_gone =
                |error: &LogError| matches!(error, LogError::UnknownTopic(_) | LogError::UnknownPartition { .. });
            there.err().filter(is_gone)
        })?;
        self.shared.learn(&missing);
        Some(Failure::Refused(missing))
    }

    /// What was too large for a partition may fit in smaller pieces; a record by itself does not.
    fn shrink(&mut self, to: &TopicPartition, appends: &[&Append], tried: usize) -> Failure {
        let Some(limit) = self.shared.topics.most_bytes(self.shared.lookup(), &to.topic) else {
            return Failure::Refused(LogError::Invalid(format!(
                "a record is too large for {to}: raise max.message.bytes"
            )));
        };
        if tried > limit {
            tracing::info!(%to, limit, "records are written in smaller batches");
            self.batch_bytes = limit;
            return Failure::Aborted(LogError::Storage(format!("Kafka: {to} takes {limit} bytes at once")));
        }
        let records = appends
            .iter()
            .filter(|append| append.to == *to)
            .flat_map(|append| append.batch.iter());
        let largest = records
            .map(|record| record.value.len() + record.key.map_or(0, <[u8]>::len))
            .max();
        Failure::Refused(LogError::Invalid(format!(
            "a record of {} bytes is too large for {to}, which takes {limit}: raise the topic's max.message.bytes",
            largest.unwrap_or_default()
        )))
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
