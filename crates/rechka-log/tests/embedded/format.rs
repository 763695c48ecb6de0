//! Files that released versions wrote stay readable.
use std::{fs, path::Path, time::Duration};

use rechka_log::{Append, BatchBuilder, Cleanup, Epoch, Event, Log, Membership, Retention, SqliteLog, TopicSpec};

use crate::{append, at, batch};

const FIXTURE: &str = "tests/fixtures/format-1.sqlite";

/// What the fixture holds.
fn write(directory: &Path) {
    let log = SqliteLog::open(directory).unwrap();
    log.create_topic(&TopicSpec {
        retention: Retention {
            age: Some(Duration::from_hours(24 * 36_500)),
            bytes: Some(1 << 40),
        },
        ..TopicSpec::new("events", 2)
    })
    .unwrap();
    log.create_topic(&TopicSpec {
        cleanup: Cleanup::Compact,
        ..TopicSpec::new("state", 1)
    })
    .unwrap();
    let mut builder = BatchBuilder::new();
    builder
        .push(Some(b"key"), b"value", 1_700_000_000_000, &[("name", b"header")])
        .unwrap();
    builder
        .push(None, &b"compressible ".repeat(40), 1_700_000_000_001, &[])
        .unwrap();
    append(&log, at("events", 1), builder.finish()).unwrap();
    for round in 0..3 {
        let mut builder = BatchBuilder::new();
        for key in ["a", "b", "c"] {
            if round == 0 || key != "b" {
                builder
                    .push(Some(key.as_bytes()), format!("{key}{round}").as_bytes(), 0, &[])
                    .unwrap();
            }
        }
        append(&log, at("state", 0), builder.finish()).unwrap();
    }
    log.maintain().unwrap();
    let mut member = log.join(Membership::new("readers", vec!["events".into()])).unwrap();
    while !matches!(member.poll(Duration::from_secs(1)).unwrap(), Event::Batch(_)) {}
    member
        .commit(Epoch {
            offsets: vec![(at("events", 1), 1)],
            appends: vec![Append {
                to: at("events", 0),
                batch: batch(["output"]),
            }],
        })
        .unwrap();
    log.delete_before(&at("events", 0), 1).unwrap();
}

fn check(directory: &Path) {
    let log = SqliteLog::open(directory).unwrap();
    let topics = log.topics().unwrap();
    assert_eq!(topics.len(), 2);
    assert_eq!(topics[0].retention.bytes, Some(1 << 40));
    assert_eq!(topics[1].cleanup, Cleanup::Compact);
    assert_eq!(log.offsets(&at("events", 0)).unwrap(), 1..1);
    assert_eq!(log.offsets(&at("events", 1)).unwrap(), 0..2);
    assert_eq!(log.committed("readers", &at("events", 1)).unwrap(), Some(1));
    let mut reader = log.read(vec![(at("events", 1), 0)]).unwrap();
    let fetched = reader.poll(Duration::ZERO).unwrap().unwrap();
    let record = fetched.batch.get(0).unwrap();
    assert_eq!((record.key, record.value), (Some(&b"key"[..]), &b"value"[..]));
    assert_eq!(record.timestamp, 1_700_000_000_000);
    assert_eq!(record.header("name"), Some(&b"header"[..]));
    assert_eq!(fetched.batch.get(1).unwrap().value, b"compressible ".repeat(40));
    let mut reader = log.read(vec![(at("state", 0), 0)]).unwrap();
    let mut state = Vec::new();
    while let Some(fetched) = reader.poll(Duration::ZERO).unwrap() {
        let values = (fetched.base_offset..).zip(fetched.batch.iter());
        state.extend(values.map(|(offset, record)| (offset, String::from_utf8_lossy(record.value).into_owned())));
    }
    let expected = [(1, "b0"), (5, "a2"), (6, "c2")];
    assert_eq!(state, expected.map(|(offset, value)| (offset, value.to_owned())));
    append(&log, at("events", 1), batch(["goes on"])).unwrap();
}

#[test]
fn format_1_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(FIXTURE, directory.path().join("log.sqlite")).unwrap();
    check(directory.path());
}

#[test]
fn what_is_written_today_is_the_same_format() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    // Only for a new format: `RECHKA_WRITE_FIXTURE=1 cargo test -p rechka-log format`, under a new name.
    if std::env::var_os("RECHKA_WRITE_FIXTURE").is_some() {
        fs::copy(directory.path().join("log.sqlite"), FIXTURE).unwrap();
    }
    check(directory.path());
}
