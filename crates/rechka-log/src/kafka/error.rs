//! Errors of the client as errors of the log.
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use crate::{LogError, TopicPartition};

/// What was tried, and what came of it.
pub(super) fn failed(what: &str, error: KafkaError) -> LogError {
    let hint = match &error {
        KafkaError::ClientConfig(_, why, ..) | KafkaError::ClientCreation(why)
            if why.contains("OpenSSL not available") =>
        {
            ": this program was built without TLS; build it with the feature kafka-tls"
        }
        _ => "",
    };
    LogError::Storage(format!("Kafka: {what}: {error}{hint}"))
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
