//! What comes from one partition.
use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use rdkafka::{
    Message,
    consumer::{Consumer, base_consumer::PartitionQueue},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::{
    client::{KafkaConsumer, Listener},
    error::failed_at,
    records,
};
use crate::{BatchBuilder, Fetched, LogError, Offset, Result, TopicPartition};

/// Bounds of what is taken from the client at once, and so of a batch.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 1 << 20;

/// The records of one partition in order, taken from a queue of its own. Offsets have holes where control records, aborted
/// records and records that were compacted away lie; a batch has none, so it ends there.
pub(super) struct Stream {
    name: TopicPartition,
    queue: PartitionQueue<Listener>,
    /// What is to be given next.
    ready: VecDeque<Result<Fetched>>,
    /// Where the next record is, or before. One before it comes only if the partition is another one, or has lost its end.
    position: Offset,
    /// The client has seen the end since the last record.
    ended: bool,
}

/// A batch that is being collected.
#[derive(Default)]
struct Run {
    base_offset: Offset,
    batch: BatchBuilder,
}

impl Stream {
    /// To be called before the consumer is assigned the partition.
    pub(super) fn open(consumer: &Arc<KafkaConsumer>, name: TopicPartition, position: Offset) -> Result<Self> {
        let queue = consumer.split_partition_queue(&name.topic, name.partition as i32);
        let Some(mut queue) = queue else {
            return Err(LogError::Storage(format!("Kafka's client has no queue for {name}")));
        };
        let signal = Arc::clone(&consumer.context().signal);
        queue.set_nonempty_callback(move || signal.raise());
        Ok(Self {
            name,
            queue,
            ready: VecDeque::new(),
            position,
            ended: false,
        })
    }

    pub(super) fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// Whether everything is given, as far as the client has heard.
    pub(super) fn at_end(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// From now on, records from `position` on are given. The consumer has to be sought too.
    pub(super) fn seek(&mut self, position: Offset) {
        self.position = position;
        self.ready.clear();
        self.ended = false;
    }

    /// The next records, if they are here.
    pub(super) fn next(&mut self) -> Result<Option<Fetched>> {
        if self.ready.is_empty() {
            self.fill();
        }
        self.ready.pop_front().transpose()
    }

    fn fill(&mut self) {
        let mut run = Run::default();
        for _ in 0..MOST_RECORDS {
            let message = match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.ended = true;
                    continue;
                }
                Some(Err(error)) => {
                    run.finish(&self.name, &mut self.ready);
                    self.ready.extend(self.trouble(error).map(Err));
                    break;
                }
            };
            let offset = message.offset().unsigned_abs();
            if offset < self.position {
                // The client has not found the position, and begins at what is there.
                run.finish(&self.name, &mut self.ready);
                self.ready.push_back(Err(LogError::Replaced {
                    from: self.name.clone(),
                    position: self.position,
                    found: offset,
                }));
                break;
            }
            if offset != run.next_offset() {
                run.finish(&self.name, &mut self.ready);
                run.base_offset = offset;
            }
            self.position = offset + 1;
            self.ended = false;
            if let Err(reason) = records::decode(&message, &mut run.batch) {
                run.finish(&self.name, &mut self.ready);
                self.ready.push_back(Err(LogError::Damaged {
                    from: self.name.clone(),
                    offsets: offset..offset + 1,
                    reason,
                }));
            }
            if run.batch.bytes() >= MOST_BYTES {
                break;
            }
        }
        run.finish(&self.name, &mut self.ready);
    }

    /// The error, if the client does not get over it by itself.
    fn trouble(&self, error: KafkaError) -> Option<LogError> {
        match error.rdkafka_error_code() {
            // Partitions only go away with their topic.
            Some(RDKafkaErrorCode::UnknownPartition) => Some(LogError::UnknownTopic(self.name.topic.to_string())),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Some(failed_at(&self.name, "reading", error)),
            _ => {
                tracing::warn!(partition = %self.name, %error, "Kafka");
                None
            }
        }
    }
}

impl Run {
    fn next_offset(&self) -> Offset {
        self.base_offset + self.batch.len() as Offset
    }

    /// Passes on what there is.
    fn finish(&mut self, name: &TopicPartition, ready: &mut VecDeque<Result<Fetched>>) {
        let next = self.next_offset();
        if !self.batch.is_empty() {
            ready.push_back(Ok(Fetched {
                from: name.clone(),
                base_offset: mem::replace(&mut self.base_offset, next),
                batch: mem::take(&mut self.batch).finish(),
            }));
        }
    }
}
