//! Several processes and one log.
use std::{
    io::{BufRead, BufReader},
    time::Duration,
};

use rechka_log::{Log, LogError, Membership, SqliteLog, TopicSpec};

use crate::{append, at, batch, child, child_directory, texts, with_topic};

#[test]
fn a_second_writer_process_is_refused_and_told_who_writes() {
    if let Some(directory) = child_directory() {
        let error = SqliteLog::open(directory).unwrap_err();
        println!("refused: {error}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let log = with_topic(directory.path());
    let name = "processes::a_second_writer_process_is_refused_and_told_who_writes";
    let output = child(name, directory.path()).wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let pid = format!("process {}", std::process::id());
    assert!(output.contains("refused") && output.contains(&pid), "{output}");
    let same_process = SqliteLog::open(directory.path());
    assert!(matches!(same_process, Err(LogError::InUse { .. })));
    append(&log, at("t", 0), batch(["undisturbed"])).unwrap();
    drop(log);
    let log = SqliteLog::open(directory.path()).unwrap();
    assert_eq!(texts(&log, &at("t", 0)), ["undisturbed"]);
}

/// Reads what another process writes and says each value as it comes.
fn follow(directory: &std::path::Path) {
    let log = SqliteLog::open_read_only(directory).unwrap();
    let mut reader = log.read(vec![(at("t", 0), 0), (at("t", 1), 0)]).unwrap();
    println!("ready");
    // No time-out could be the reason that something is read: it is far longer than the test.
    while let Some(fetched) = reader.poll(Duration::from_secs(600)).unwrap() {
        for record in fetched.batch.iter() {
            println!("read {}", String::from_utf8_lossy(record.value));
        }
    }
}

#[test]
fn a_reader_process_is_woken_and_sees_only_what_is_committed() {
    if let Some(directory) = child_directory() {
        return follow(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let log = with_topic(directory.path());
    let name = "processes::a_reader_process_is_woken_and_sees_only_what_is_committed";
    let mut follower = child(name, directory.path());
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = |prefix: &str| {
        let found = lines.find(|line| line.as_ref().unwrap().contains(prefix));
        found.unwrap().unwrap()
    };
    next("ready");
    for number in 0..30 {
        let value = format!("value {number}");
        append(&log, at("t", number % 2), batch([&value])).unwrap();
        // It waits for this one only after it is acknowledged, and gets nothing else before.
        let line = next("read ");
        assert!(line.ends_with(&format!("read {value}")), "{line}");
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn a_log_open_for_reading_refuses_to_change_anything() {
    let directory = tempfile::tempdir().unwrap();
    let writer = with_topic(directory.path());
    append(&writer, at("t", 0), batch(["x"])).unwrap();
    let log = SqliteLog::open_read_only(directory.path()).unwrap();
    assert_eq!(log.topics().unwrap(), writer.topics().unwrap());
    assert_eq!(log.offsets(&at("t", 0)).unwrap(), 0..1);
    assert_eq!(texts(&log, &at("t", 0)), ["x"]);
    let join = Membership::new("g", vec!["t".into()]);
    let errors = [
        log.create_topic(&TopicSpec::new("u", 1)).err(),
        log.delete_topic("t").err(),
        log.delete_before(&at("t", 0), 1).err(),
        append(&log, at("t", 0), batch(["y"])).err(),
        log.join(join).err(),
        log.maintain().err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(LogError::ReadOnly)), "{error:?}");
    }
    // Without a writer it can be read as well, and topics that come and go are seen.
    writer.create_topic(&TopicSpec::new("new", 1)).unwrap();
    writer.delete_topic("t").unwrap();
    drop(writer);
    assert!(matches!(log.offsets(&at("t", 0)), Err(LogError::UnknownTopic(_))));
    assert_eq!(log.offsets(&at("new", 0)).unwrap(), 0..0);
}

#[test]
fn a_closed_log_ends_its_readers_and_members() {
    let directory = tempfile::tempdir().unwrap();
    let log = with_topic(directory.path());
    let mut reader = log.read(vec![(at("t", 0), 0)]).unwrap();
    let waiting = std::thread::spawn(move || reader.poll(Duration::from_secs(600)));
    let ack = log
        .append(vec![rechka_log::Append {
            to: at("t", 1),
            batch: batch(["still written"]),
        }])
        .unwrap();
    drop(log);
    assert_eq!(ack.wait().unwrap(), [0]);
    let closed = waiting.join().unwrap();
    assert!(matches!(closed, Err(LogError::Closed)), "{closed:?}");
    let log = SqliteLog::open(directory.path()).unwrap();
    assert_eq!(texts(&log, &at("t", 1)), ["still written"]);
}
