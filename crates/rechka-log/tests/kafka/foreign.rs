//! Other programs on the same topics.
use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use rechka_log::{Append, BatchBuilder, Cleanup, Log, TopicPartition, TopicSpec};

use super::{location, open};

const PATIENCE: Duration = Duration::from_secs(30);

/// A log with a new topic of one partition.
fn topic(name: &str) -> Option<(rechka_log::KafkaLog, TopicPartition)> {
    let log = open(&location("")?);
    let name = format!("{name}-{}", std::process::id());
    log.create_topic(&TopicSpec::new(name.as_str(), 1)).unwrap();
    Some((log, TopicPartition::new(name, 0)))
}

fn producer(settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", std::env::var("RECHKA_KAFKA").unwrap());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

fn append(log: &dyn Log, to: &TopicPartition, value: &str) {
    let mut batch = BatchBuilder::new();
    batch.push(None, value.as_bytes(), 1, &[]).unwrap();
    let append = Append {
        to: to.clone(),
        batch: batch.finish(),
    };
    log.append(vec![append]).unwrap().wait().unwrap();
}

/// Everything to the end.
fn read(log: &dyn Log, partition: &TopicPartition) -> Vec<String> {
    let end = log.offsets(partition).unwrap().end;
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    let (mut position, mut values) = (0, Vec::new());
    while position < end {
        let fetched = reader.poll(PATIENCE).unwrap().unwrap();
        position = fetched.next_offset();
        let texts = fetched
            .batch
            .iter()
            .map(|record| String::from_utf8(record.value.to_vec()).unwrap());
        values.extend(texts);
    }
    values
}

#[test]
fn a_record_of_another_program_comes_as_it_is() {
    let Some((log, partition)) = topic("foreign") else {
        return;
    };
    let producer = producer(&[]);
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "none",
            value: None::<&[u8]>,
        })
        .insert(Header {
            key: "some",
            value: Some("thing"),
        });
    let plain = BaseRecord::<str, str>::to(&partition.topic).partition(0);
    producer.send(plain.payload("value").headers(headers)).unwrap();
    let null = BaseRecord::<str, str>::to(&partition.topic).partition(0);
    producer.send(null.key("key").timestamp(1_700_000_000_000)).unwrap();
    producer.flush(PATIENCE).unwrap();
    assert_eq!(log.offsets(&partition).unwrap(), 0..2);
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    let mut records = Vec::new();
    while records.len() < 2 {
        let fetched = reader.poll(PATIENCE).unwrap().unwrap();
        for record in fetched.batch.iter() {
            let headers: Vec<_> = record
                .headers()
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect();
            records.push((
                record.key.map(<[u8]>::to_vec),
                record.value.to_vec(),
                record.timestamp,
                headers,
            ));
        }
    }
    let headers = vec![("none".to_owned(), Vec::new()), ("some".to_owned(), b"thing".to_vec())];
    assert_eq!((&records[0].0, &records[0].1), (&None, &b"value".to_vec()));
    assert_eq!(records[0].3, headers);
    assert_eq!(
        records[1],
        (Some(b"key".to_vec()), Vec::new(), 1_700_000_000_000, Vec::new())
    );
}

#[test]
fn what_was_aborted_is_never_read() {
    let Some((log, partition)) = topic("aborted") else {
        return;
    };
    let producer = producer(&[("transactional.id", &format!("abort-{}", std::process::id()))]);
    producer.init_transactions(PATIENCE).unwrap();
    append(&log, &partition, "first");
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    assert_eq!(
        reader.poll(PATIENCE).unwrap().unwrap().batch.get(0).unwrap().value,
        b"first"
    );
    for round in 0..3 {
        producer.begin_transaction().unwrap();
        for _ in 0..20 {
            let record = BaseRecord::<str, str>::to(&partition.topic).partition(0);
            producer.send(record.payload("aborted")).unwrap();
        }
        // Written, and not yet aborted.
        producer.flush(PATIENCE).unwrap();
        assert_eq!(read(&log, &partition).len(), round + 1);
        assert!(reader.poll(Duration::from_millis(300)).unwrap().is_none());
        producer.abort_transaction(PATIENCE).unwrap();
        append(&log, &partition, "next");
        let fetched = reader.poll(PATIENCE).unwrap().unwrap();
        assert_eq!(fetched.batch.get(0).unwrap().value, b"next");
        assert_eq!(log.offsets(&partition).unwrap().end, fetched.next_offset());
    }
    // The end is where nothing more comes, although offsets go on behind it.
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<str, str>::to(&partition.topic).partition(0);
    producer.send(record.payload("aborted")).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
    for log in [log, open(&location("").unwrap())] {
        assert_eq!(read(&log, &partition), ["first", "next", "next", "next"]);
    }
}

#[test]
fn an_empty_value_deletes_its_key_when_kafka_compacts() {
    // Small segments, and at once: compaction leaves the segment that is written to as it is.
    let settings = "create.segment.ms=100&create.min.cleanable.dirty.ratio=0.01&create.delete.retention.ms=100";
    let Some(location) = location(settings) else {
        return;
    };
    let log = open(&location);
    let partition = TopicPartition::new(format!("deleted-keys-{}", std::process::id()), 0);
    let spec = TopicSpec {
        cleanup: Cleanup::Compact,
        ..TopicSpec::new(&*partition.topic, 1)
    };
    log.create_topic(&spec).unwrap();
    let append = |key: &str, value: &str| {
        let mut batch = BatchBuilder::new();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        batch
            .push(Some(key.as_bytes()), value.as_bytes(), now.as_millis() as i64, &[])
            .unwrap();
        let to = partition.clone();
        let batch = batch.finish();
        log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
    };
    append("kept", "kept");
    for number in 0..20 {
        append("deleted", &number.to_string());
    }
    append("deleted", "");
    let begun = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(300));
        // Ends a segment.
        append("clock", &begun.elapsed().as_millis().to_string());
        let values = read(&log, &partition);
        assert_eq!(values[0], "kept");
        let numbers = values
            .iter()
            .filter(|value| value.len() < 3 && !value.is_empty())
            .count();
        if numbers == 0 && !values.contains(&String::new()) {
            break;
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "not compacted: {values:?}");
    }
}
