//! The plain reader.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList, consumer::Consumer};

use super::{
    client::{self, KafkaConsumer},
    connection::Connection,
    error::failed,
    stream::Stream,
};
use crate::{Fetched, LogError, Offset, Reader, Result, TopicPartition, signal::Signal};

/// The group of readers, which no reader joins: the client wants one to be named.
const GROUP: &str = "rechka-readers";
/// Consumers that are kept for the next reader: making one opens connections.
const MOST_IDLE: usize = 4;
/// How long a reader sleeps at most before it looks after its client.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Consumers that nobody uses.
pub(super) struct Idle {
    consumers: Mutex<Vec<Arc<KafkaConsumer>>>,
    settings: &'static [(&'static str, &'static str)],
}

impl Idle {
    /// For readers that live long.
    pub(super) fn for_readers() -> Arc<Self> {
        Self::new(&[])
    }

    /// For a look at what is there: the broker is not to wait for more to come.
    pub(super) fn for_looks() -> Arc<Self> {
        Self::new(&[("fetch.wait.max.ms", "5")])
    }

    fn new(settings: &'static [(&'static str, &'static str)]) -> Arc<Self> {
        Arc::new(Self {
            consumers: Mutex::default(),
            settings,
        })
    }

    fn take(&self, connection: &Connection) -> Result<Arc<KafkaConsumer>> {
        let idle = self.consumers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Ok(Arc::new(client::consumer(connection, GROUP, self.settings)?)), Ok)
    }

    fn give(&self, consumer: Arc<KafkaConsumer>) {
        let mut idle = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(consumer);
        }
    }
}

/// What came of waiting.
pub(super) enum Next {
    Fetched(Fetched),
    /// Nothing came; everything is read, as far as the client has heard.
    End,
    /// Nothing came.
    Nothing,
}

/// A [`Reader`] of Kafka: a consumer with an assignment of its own.
pub(super) struct KafkaReader {
    /// Before the consumer, as their queues are the consumer's.
    streams: Vec<Stream>,
    /// The stream that was read last.
    turn: usize,
    consumer: Option<Arc<KafkaConsumer>>,
    idle: Arc<Idle>,
    /// Whether the last poll found everything read.
    at_end: bool,
}

impl KafkaReader {
    pub(super) fn open(connection: &Connection, idle: &Arc<Idle>, from: Vec<(TopicPartition, Offset)>) -> Result<Self> {
        let consumer = idle.take(connection)?;
        let mut partitions = TopicPartitionList::new();
        let mut streams = Vec::new();
        for (name, offset) in from {
            let position = i64::try_from(offset).unwrap_or(i64::MAX);
            let added =
                partitions.add_partition_offset(&name.topic, name.partition as i32, KafkaOffset::Offset(position));
            added.map_err(|error| failed("reading", error))?;
            streams.push(Stream::open(&consumer, name, offset)?);
        }
        consumer.assign(&partitions).map_err(|error| failed("reading", error))?;
        Ok(Self {
            streams,
            turn: 0,
            consumer: Some(consumer),
            idle: Arc::clone(idle),
            at_end: false,
        })
    }

    /// What comes next. Returns at the end too if `to_end`, else only when something came or the time is over.
    pub(super) fn next(&mut self, wait: Duration, to_end: bool) -> Result<Next> {
        let Some(consumer) = &self.consumer else {
            return Err(LogError::Closed);
        };
        let signal = Arc::clone(&consumer.context().signal);
        let deadline = Instant::now().checked_add(wait);
        loop {
            signal.clear();
            serve(consumer)?;
            for _ in 0..self.streams.len() {
                self.turn = (self.turn + 1) % self.streams.len();
                if let Some(fetched) = self.streams[self.turn].next()? {
                    return Ok(Next::Fetched(fetched));
                }
            }
            if to_end && self.streams.iter().all(Stream::at_end) {
                return Ok(Next::End);
            }
            if !sleep(&signal, deadline) {
                return Ok(match self.streams.iter().all(Stream::at_end) {
                    true => Next::End,
                    false => Next::Nothing,
                });
            }
        }
    }
}

/// Lets the client tell what it has to tell. Errors of connections are told too; it gets over them by itself.
pub(super) fn serve(consumer: &KafkaConsumer) -> Result<()> {
    loop {
        // A poll takes one thing at a time, and tells of records and errors only.
        let heard = consumer.context().heard();
        match consumer.poll(Duration::ZERO) {
            None if consumer.context().heard() == heard => return Ok(()),
            None => {}
            Some(Err(error @ rdkafka::error::KafkaError::MessageConsumptionFatal(_))) => {
                return Err(failed("reading", error));
            }
            Some(Err(error)) => tracing::debug!(%error, "Kafka consumer"),
            // Every partition has a queue of its own; a record that came here would be lost to it.
            Some(Ok(message)) => {
                let place = (message.topic(), message.partition(), message.offset());
                return Err(LogError::Storage(format!("Kafka's client gave {place:?} out of turn")));
            }
        }
    }
}

/// Sleeps until the signal or for a while; false when the deadline has come.
pub(super) fn sleep(signal: &Signal, deadline: Option<Instant>) -> bool {
    let now = Instant::now();
    if deadline.is_some_and(|deadline| deadline <= now) {
        return false;
    }
    let look = now + LONGEST_WAIT;
    signal.wait(Some(deadline.map_or(look, |deadline| deadline.min(look))));
    true
}

impl Reader for KafkaReader {
    fn poll(&mut self, wait: Duration) -> Result<Option<Fetched>> {
        let next = self.next(wait, false)?;
        self.at_end = matches!(next, Next::End);
        match next {
            Next::Fetched(fetched) => Ok(Some(fetched)),
            Next::End | Next::Nothing => Ok(None),
        }
    }

    fn is_at_end(&self) -> bool {
        self.at_end
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.streams.clear();
        if let Some(consumer) = self.consumer.take()
            && consumer.unassign().is_ok()
        {
            self.idle.give(consumer);
        }
    }
}
