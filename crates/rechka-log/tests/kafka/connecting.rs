//! Clusters that can't be used, and topics that do not fit.
use std::time::{Duration, Instant};

use rechka_log::{KafkaLog, Log, LogError, TopicSpec};

use super::{location, open};

fn error(location: &str) -> String {
    KafkaLog::open(&location.parse().unwrap()).unwrap_err().to_string()
}

#[test]
fn where_no_broker_answers_the_error_names_the_address_in_time() {
    let begun = Instant::now();
    // Nobody listens on port 1.
    let error = error("kafka://127.0.0.1:1?default.api.timeout.ms=1000");
    assert!(
        error.contains("no broker of Kafka answers at 127.0.0.1:1: ") && error.contains("for 1 s"),
        "{error}"
    );
    assert!(error.contains("Connection refused"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_wrong_setting_is_named() {
    let error = error("kafka://127.0.0.1:1?no.such.setting=1");
    assert!(error.contains("no.such.setting"), "{error}");
}

#[test]
fn a_topic_with_fewer_replicas_than_declared_is_refused() {
    let Some(one) = location("create.replication.factor=1") else {
        return;
    };
    let name = format!("replicas-{}", std::process::id());
    let spec = TopicSpec::new(name.as_str(), 1);
    open(&one).create_topic(&spec).unwrap();
    let log = open(&location("create.replication.factor=3").unwrap());
    let error = log.create_topic(&spec).unwrap_err();
    assert!(matches!(error, LogError::TopicDiffers { .. }));
    assert!(error.to_string().contains("1 replicas instead of 3"), "{error}");
    // Where nothing is said, what is there is good.
    open(&location("").unwrap()).create_topic(&spec).unwrap();
}
