//! Topics that others change, and that do not fit.
use std::time::{Duration, Instant};

use rechka_log::{Append, Batch, BatchBuilder, KafkaLog, Log, LogError, TopicPartition, TopicSpec};

use super::{location, open};

const PATIENCE: Duration = Duration::from_secs(60);

/// A log that makes topics with these settings, and the only partition of a new one.
fn topic(name: &str, settings: &str) -> Option<(KafkaLog, TopicPartition)> {
    let log = open(&location(settings)?);
    let name = format!("{name}-{}", std::process::id());
    log.create_topic(&TopicSpec::new(name.as_str(), 1)).unwrap();
    Some((log, TopicPartition::new(name, 0)))
}

/// Records that can't be compressed.
fn noise(records: usize, bytes: usize) -> Batch {
    let mut batch = BatchBuilder::new();
    let mut state = 1_u64;
    for _ in 0..records {
        let random = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let value: Vec<u8> = (0..bytes).map(random).collect();
        batch.push(None, &value, 1, &[]).unwrap();
    }
    batch.finish()
}

fn append(log: &KafkaLog, to: &TopicPartition, batch: Batch) -> Result<u64, LogError> {
    let to = to.clone();
    let offsets = log.append(vec![Append { to, batch }])?.wait()?;
    Ok(offsets[0])
}

#[test]
fn what_a_topic_does_not_take_at_once_goes_in_pieces_and_a_record_too_large_is_refused() {
    let Some((log, partition)) = topic("narrow", "create.max.message.bytes=20000") else {
        return;
    };
    append(&log, &partition, noise(300, 1000)).unwrap();
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    let mut read = 0;
    while read < 300 {
        read += reader.poll(PATIENCE).unwrap().unwrap().batch.len();
    }
    let error = append(&log, &partition, noise(1, 30_000)).unwrap_err().to_string();
    assert!(
        error.contains("30000 bytes") && error.contains("takes 20000"),
        "{error}"
    );
    // Others are not held up by it.
    append(&log, &partition, noise(1, 10)).unwrap();
    assert_eq!(reader.poll(PATIENCE).unwrap().unwrap().batch.len(), 1);
}

#[test]
fn a_topic_with_other_settings_than_asked_for_is_refused_with_the_difference() {
    let Some((_, partition)) = topic("careless", "create.min.insync.replicas=1") else {
        return;
    };
    let careful = open(&location("create.min.insync.replicas=2").unwrap());
    let error = careful.create_topic(&TopicSpec::new(&*partition.topic, 1)).unwrap_err();
    assert!(
        error.to_string().contains("min.insync.replicas 1 instead of 2"),
        "{error}"
    );
}

#[test]
fn a_topic_that_is_deleted_is_missed_by_whoever_reads_or_writes_it() {
    let Some((log, partition)) = topic("deleted", "default.api.timeout.ms=15000") else {
        return;
    };
    append(&log, &partition, noise(1, 10)).unwrap();
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    assert!(reader.poll(PATIENCE).unwrap().is_some());
    // As another program deletes it.
    open(&location("").unwrap()).delete_topic(&partition.topic).unwrap();
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < PATIENCE, "the reader does not miss it");
        if let Err(error) = reader.poll(Duration::from_secs(1)) {
            break error;
        }
    };
    assert!(matches!(error, LogError::UnknownTopic(_)), "{error}");
    let error = append(&log, &partition, noise(1, 10)).unwrap_err();
    assert!(matches!(error, LogError::UnknownTopic(_)), "{error}");
    // It is not made again behind anybody's back.
    assert!(log.topics().unwrap().iter().all(|topic| topic.name != partition.topic));
}

#[test]
fn a_topic_that_is_made_again_is_not_taken_for_the_one_before() {
    let Some((log, partition)) = topic("again", "") else {
        return;
    };
    append(&log, &partition, noise(50, 10)).unwrap();
    let end = log.offsets(&partition).unwrap().end;
    let mut reader = log.read(vec![(partition.clone(), end)]).unwrap();
    assert!(reader.poll(Duration::from_millis(500)).unwrap().is_none());
    let other = open(&location("").unwrap());
    other.delete_topic(&partition.topic).unwrap();
    other.create_topic(&TopicSpec::new(&*partition.topic, 1)).unwrap();
    append(&other, &partition, noise(3, 10)).unwrap();
    let begun = Instant::now();
    let error = loop {
        assert!(
            begun.elapsed() < PATIENCE,
            "nobody says that the records before are gone"
        );
        match reader.poll(Duration::from_secs(1)) {
            Ok(None) => {}
            Ok(Some(fetched)) => panic!("offset {} was read", fetched.base_offset),
            Err(error) => break error,
        }
    };
    println!("{error}");
    let gone = matches!(
        error,
        LogError::UnknownTopic(_)
            | LogError::Replaced {
                position: 50,
                found: 0,
                ..
            }
    );
    assert!(gone, "{error}");
    // Whoever begins anew reads what there is.
    let mut reader = log.read(vec![(partition, 0)]).unwrap();
    assert_eq!(reader.poll(PATIENCE).unwrap().unwrap().batch.len(), 3);
}
