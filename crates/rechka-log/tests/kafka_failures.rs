//! Brokers are killed and come back while the log is used. `RECHKA_XTASK` is the program that can kill them, and `RECHKA_KAFKA`
//! says where they are; `cargo xtask test` sets both. Without them this test says that it is skipped, and passes.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{
    Append, Batch, BatchBuilder, CommitError, Epoch, Event, KafkaLog, Log, Membership, TopicPartition, TopicSpec,
};

const PARTITIONS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

fn xtask(arguments: &[&str]) {
    let mut command = Command::new(std::env::var("RECHKA_XTASK").unwrap());
    command.arg("kafka").args(arguments);
    // Where the brokers' folder is looked for.
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

fn batch(value: &str) -> Batch {
    let mut batch = BatchBuilder::new();
    batch.push(None, value.as_bytes(), 1, &[]).unwrap();
    batch.finish()
}

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

/// Ends the threads however the test ends.
struct Stop<'a>([&'a AtomicBool; 2]);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

/// One thread appends numbers, another copies them in epochs. Meanwhile one broker after the other is killed and started
/// again. What was acknowledged is there once and in order, and so is its copy.
#[test]
fn nothing_is_lost_or_doubled_while_brokers_die() {
    let (Ok(bootstrap), Ok(_)) = (std::env::var("RECHKA_KAFKA"), std::env::var("RECHKA_XTASK")) else {
        println!("skipped: RECHKA_KAFKA and RECHKA_XTASK do not say where brokers are and how to kill them");
        return;
    };
    let log = KafkaLog::open(
        &format!("kafka://{bootstrap}?default.api.timeout.ms=90000")
            .parse()
            .unwrap(),
    )
    .unwrap();
    let name = |what: &str| format!("{what}-{}", std::process::id());
    let (input, output) = (name("numbers"), name("copies"));
    for topic in [&input, &output] {
        log.create_topic(&TopicSpec::new(topic.as_str(), PARTITIONS)).unwrap();
    }
    let at = |topic: &str, partition| TopicPartition::new(topic, partition);
    let (done, copied) = (AtomicBool::new(false), AtomicBool::new(false));
    let appended = thread::scope(|scope| {
        let _stop = Stop([&done, &copied]);
        let appender = scope.spawn(|| {
            let mut number = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let to = at(&input, number % PARTITIONS);
                let batch = batch(&number.to_string());
                log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
                number += 1;
            }
            number
        });
        scope.spawn(|| {
            let mut member = log
                .join(Membership::new(name("copiers"), vec![input.as_str().into()]))
                .unwrap();
            while !copied.load(Ordering::Relaxed) {
                let Event::Batch(fetched) = member.poll(Duration::from_millis(100)).unwrap() else {
                    continue;
                };
                let epoch = Epoch {
                    offsets: vec![(fetched.from.clone(), fetched.next_offset())],
                    appends: vec![Append {
                        to: at(&output, fetched.from.partition),
                        batch: fetched.batch,
                    }],
                };
                match member.commit(epoch) {
                    // Fenced, the member loses its partitions, and reads again from what is committed.
                    Ok(()) | Err(CommitError::Fenced(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for broker in ["1", "2", "3"] {
            thread::sleep(Duration::from_secs(2));
            xtask(&["kill", broker]);
            thread::sleep(Duration::from_secs(4));
            xtask(&["start", broker]);
        }
        thread::sleep(Duration::from_secs(2));
        done.store(true, Ordering::Relaxed);
        let appended = appender.join().unwrap();
        let begun = Instant::now();
        let copies = || {
            (0..PARTITIONS)
                .map(|partition| read(&log, &at(&output, partition)).len())
                .sum::<usize>()
        };
        while copies() < appended as usize && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(200));
        }
        appended
    });
    println!("{appended} records were appended");
    assert!(appended > 100, "only {appended} records were appended");
    for partition in 0..PARTITIONS {
        let numbers = (0..appended).filter(|number| number % PARTITIONS == partition);
        let expected: Vec<String> = numbers.map(|number| number.to_string()).collect();
        assert_eq!(read(&log, &at(&input, partition)), expected, "partition {partition}");
        assert_eq!(
            read(&log, &at(&output, partition)),
            expected,
            "copy of partition {partition}"
        );
    }
}
