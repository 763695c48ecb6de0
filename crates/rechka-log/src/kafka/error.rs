//! Errors of the client as errors of the log.
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use crate::{LogError, TopicPartition};

/// What was tried, and what came of it.
pub(super) fn failed(what: &str, error: KafkaError) -> LogError {
    LogError::Storage(format!("Kafka: {what}: {error}"))
}

/// The same for one partition, where it may not exist.
pub(super) fn failed_at(partition: &TopicPartition, what: &str, error: KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            LogError::UnknownTopic(partition.topic.to_string())
        }
        Some(RDKafkaErrorCode::UnknownPartition) => LogError::UnknownPartition {
            topic: partition.topic.to_string(),
            partition: partition.partition,
        },
        _ => failed(&format!("{what} {partition}"), error),
    }
}
