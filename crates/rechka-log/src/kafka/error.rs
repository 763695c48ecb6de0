//! Errors of the client as errors of the log.
use std::fmt::Display;

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use crate::{LogError, TopicPartition};

/// What was tried, and what came of it.
pub(super) fn failed(what: &str, error: KafkaError) -> LogError {
    LogError::Storage(with_advice(what, &error, error.rdkafka_error_code()))
}

/// The same, where only a code came.
pub(super) fn describe(what: &str, code: RDKafkaErrorCode) -> String {
    with_advice(what, &code, Some(code))
}

fn with_advice(what: &str, error: &dyn Display, code: Option<RDKafkaErrorCode>) -> String {
    match code.and_then(advice) {
        Some(advice) => format!("Kafka: {what}: {error}: {advice}"),
        None => format!("Kafka: {what}: {error}"),
    }
}

/// What mends it, where that is not plain.
fn advice(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    Some(match code {
        Code::TopicAuthorizationFailed => {
            "this user needs an ACL for the topic: Read and Write, Create if it is new, Delete to shorten it"
        }
        Code::GroupAuthorizationFailed => "this user needs an ACL for the group: Read, named after the query",
        Code::TransactionalIdAuthorizationFailed => {
            "this user needs an ACL for transactional ids that begin with \"rechka-\": Write and Describe"
        }
        Code::ClusterAuthorizationFailed => {
            "this user needs an ACL for the cluster: Create, or one for the names of the topics"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "too few brokers are up for the topic's min.insync.replicas"
        }
        Code::MessageSizeTooLarge => "raise the topic's max.message.bytes, or write smaller records",
        Code::UnsupportedVersion | Code::UnsupportedFeature => "Kafka 2.5 or later is needed",
        _ => return None,
    })
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
