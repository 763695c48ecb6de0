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
        error.contains("no broker of Kafka answers at 127.0.0.1:1 within 1 s"),
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

/// A location that says who the client is; none: skip the test.
fn sasl(password: &str) -> Option<String> {
    let (Ok(bootstrap), Ok(user)) = (std::env::var("RECHKA_KAFKA_SASL"), std::env::var("RECHKA_KAFKA_USER")) else {
        println!("skipped: RECHKA_KAFKA_SASL does not say where brokers are that ask for a password");
        return None;
    };
    Some(format!(
        "kafka://{bootstrap}?security.protocol=SASL_PLAINTEXT&sasl.mechanism=PLAIN&sasl.username={user}\
         &sasl.password={password}&default.api.timeout.ms=5000"
    ))
}

#[test]
fn a_password_from_the_environment_opens_the_log() {
    let Some(location) = sasl("$RECHKA_KAFKA_PASSWORD") else {
        return;
    };
    let log = open(&location);
    log.topics().unwrap();
    let password = std::env::var("RECHKA_KAFKA_PASSWORD").unwrap();
    assert!(!format!("{log:?}").contains(&password));
}

#[test]
fn a_wrong_password_is_told_in_time_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    let Some(location) = sasl(&format!("@{}", file.display())) else {
        return;
    };
    let begun = Instant::now();
    let error = error(&location);
    assert!(error.contains("Authentication failed"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30));
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
