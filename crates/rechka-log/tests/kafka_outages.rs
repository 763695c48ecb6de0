//! All brokers go away, or their disks are full, and the log waits for them. `RECHKA_XTASK` is the program that can do that to
//! brokers, and `RECHKA_KAFKA` says where they are; `cargo xtask test` sets both. Without them these tests say that they are
//! skipped, and pass.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Append, BatchBuilder, KafkaLog, Log, TopicPartition, TopicSpec};

/// How long brokers may take to come back, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// No file may grow beyond this, as on a disk that is full.
const FULL: &str = "4096";

/// The brokers are there for one test at a time.
static BROKERS: Mutex<()> = Mutex::new(());

/// What is said, of this program alone.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn xtask(arguments: &[&str]) {
    let mut command = Command::new(std::env::var("RECHKA_XTASK").unwrap());
    command.arg("kafka").args(arguments);
    // Where the brokers' folder is looked for.
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

/// Starts all brokers again, however the test ends.
struct Restart<'a>(#[allow(dead_code)] MutexGuard<'a, ()>);

impl Drop for Restart<'_> {
    fn drop(&mut self) {
        xtask(&["up"]);
    }
}

fn brokers() -> Option<(String, Restart<'static>)> {
    let (Ok(bootstrap), Ok(_)) = (std::env::var("RECHKA_KAFKA"), std::env::var("RECHKA_XTASK")) else {
        println!("skipped: RECHKA_KAFKA and RECHKA_XTASK do not say where brokers are and how to stop them");
        return None;
    };
    let alone = BROKERS.lock().unwrap_or_else(PoisonError::into_inner);
    Some((
        format!("kafka://{bootstrap}?default.api.timeout.ms=240000"),
        Restart(alone),
    ))
}

fn topic(log: &KafkaLog, name: &str) -> TopicPartition {
    let name = format!("{name}-{}", std::process::id());
    log.create_topic(&TopicSpec::new(name.as_str(), 1)).unwrap();
    TopicPartition::new(name, 0)
}

fn append(log: &KafkaLog, to: &TopicPartition, bytes: usize) {
    let mut batch = BatchBuilder::new();
    batch.push(None, &vec![7; bytes], 1, &[]).unwrap();
    let (to, batch) = (to.clone(), batch.finish());
    log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
}

fn records(log: &KafkaLog, partition: &TopicPartition) -> usize {
    let end = log.offsets(partition).unwrap().end;
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    let (mut next, mut records) = (0, 0);
    while next < end {
        let fetched = reader.poll(PATIENCE).unwrap().unwrap();
        next = fetched.next_offset();
        records += fetched.batch.len();
    }
    records
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_outage_is_said_once_and_waited_for() {
    let Some((location, _restart)) = brokers() else {
        return;
    };
    let said = Said::default();
    let writer = said.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(move || writer.clone())
        .init();
    let log = KafkaLog::open(&location.parse().unwrap()).unwrap();
    let partition = topic(&log, "outage");
    append(&log, &partition, 10);
    for broker in ["1", "2", "3"] {
        xtask(&["kill", broker]);
    }
    wait_until("the outage is not noticed", || log.ready().is_err());
    let error = log.ready().unwrap_err().to_string();
    assert!(error.contains("no broker of Kafka answers at 127.0.0.1"), "{error}");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| append(&log, &partition, 10));
        thread::sleep(Duration::from_secs(10));
        assert!(!waiting.is_finished());
        xtask(&["up"]);
        waiting.join().unwrap();
    });
    wait_until("the end of the outage is not noticed", || log.ready().is_ok());
    assert_eq!(records(&log, &partition), 2);
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    let count = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("no broker of Kafka answers"), 1, "{said}");
    assert_eq!(count("answers again"), 1, "{said}");
    assert!(said.lines().count() < 10, "{said}");
}

#[test]
fn brokers_whose_disks_are_full_are_left_and_waited_for() {
    let Some((location, _restart)) = brokers() else {
        return;
    };
    let log = KafkaLog::open(&location.parse().unwrap()).unwrap();
    let partition = topic(&log, "full");
    append(&log, &partition, 100_000);
    xtask(&["limit", "1", FULL]);
    // It can't write any more, and ends; the others take its place.
    for _ in 0..20 {
        append(&log, &partition, 100_000);
    }
    assert_eq!(records(&log, &partition), 21);
    for broker in ["2", "3"] {
        xtask(&["limit", broker, FULL]);
    }
    thread::scope(|scope| {
        let waiting = scope.spawn(|| append(&log, &partition, 100_000));
        wait_until("brokers without room go on", || log.ready().is_err());
        assert!(!waiting.is_finished());
        // Now there is room again.
        xtask(&["up"]);
        waiting.join().unwrap();
    });
    assert_eq!(records(&log, &partition), 22);
}
