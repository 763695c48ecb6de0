//! A writer process that is killed at any moment.
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    sync::Mutex,
    time::{Duration, Instant},
};

use rechka_log::{Append, Epoch, Event, Log, Membership, SqliteLog, TopicSpec};

use crate::{append, at, batch, child, child_directory, noise, texts, with_topic};

const KILLS: u32 = 12;

/// The writer that is killed: two producers and a member that copies `in` to `out`. Every acknowledged thing is told.
fn write_until_killed(directory: &std::path::Path) {
    let log = SqliteLog::open(directory).unwrap();
    for topic in ["in", "out"] {
        log.create_topic(&TopicSpec::new(topic, 2)).unwrap();
    }
    let told = Mutex::new(std::io::stdout());
    let tell = |what: String| {
        let mut told = told.lock().unwrap();
        writeln!(told, "{what}").and_then(|()| told.flush()).unwrap();
    };
    std::thread::scope(|scope| {
        for partition in 0..2 {
            let (log, tell) = (&log, &tell);
            scope.spawn(move || {
                for number in log.offsets(&at("in", partition)).unwrap().end.. {
                    // Sizes from a few bytes to a few hundred kilobytes.
                    let filling = "x".repeat(1 << (number % 18));
                    let value = format!("{number} {filling}");
                    let offset = append(log, at("in", partition), batch([value])).unwrap();
                    assert_eq!(offset, number);
                    tell(format!("appended {partition} {offset}"));
                }
            });
        }
        let mut member = log.join(Membership::new("copy", vec!["in".into()])).unwrap();
        loop {
            let Event::Batch(fetched) = member.poll(Duration::from_secs(1)).unwrap() else {
                continue;
            };
            let partition = fetched.from.partition;
            let next = fetched.next_offset();
            // In two parts, so that a half epoch would show.
            let value = format!("{next}");
            let part = |to| Append {
                to,
                batch: batch([&value]),
            };
            member
                .commit(Epoch {
                    offsets: vec![(fetched.from, next)],
                    appends: vec![part(at("out", 0)), part(at("out", 1))],
                })
                .unwrap();
            tell(format!("committed {partition} {next}"));
        }
    });
}

#[test]
fn everything_acknowledged_survives_a_kill_and_nothing_half_does() {
    if let Some(directory) = child_directory() {
        return write_until_killed(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = 42_u64;
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    for _ in 0..KILLS {
        let name = "crash::everything_acknowledged_survives_a_kill_and_nothing_half_does";
        let mut writer = child(name, directory.path());
        let output = BufReader::new(writer.stdout.take().unwrap());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let life = Duration::from_millis(random >> 55);
        let mut killed_at = None;
        for line in output.lines().map(Result::unwrap) {
            let Some((what, number)) = line.rsplit_once(' ') else {
                continue;
            };
            if what.starts_with("appended") || what.starts_with("committed") {
                acknowledged.insert(what.to_owned(), number.parse().unwrap());
                // A while after its first acknowledgement.
                let kill_at = *killed_at.get_or_insert(Instant::now() + life);
                if Instant::now() >= kill_at {
                    writer.kill().unwrap();
                }
            }
        }
        writer.wait().unwrap();
        assert!(killed_at.is_some(), "the writer did nothing");
        // A reader may come before the next writer, and sees the same.
        let before = texts(&SqliteLog::open_read_only(directory.path()).unwrap(), &at("in", 0));
        let log = SqliteLog::open(directory.path()).unwrap();
        assert!(before == texts(&log, &at("in", 0)));
        let mut copied = Vec::new();
        for partition in 0..2 {
            let all = texts(&log, &at("in", partition));
            for (number, text) in all.iter().enumerate() {
                let (label, filling) = text.split_once(' ').unwrap();
                assert_eq!(label, number.to_string());
                assert_eq!(filling.len(), 1 << (number % 18));
            }
            let last = acknowledged.get(&format!("appended {partition}"));
            assert!(last.is_none_or(|last| all.len() as u64 > *last));
            let committed = log.committed("copy", &at("in", partition)).unwrap();
            let last = acknowledged.get(&format!("committed {partition}"));
            assert!(committed >= last.copied(), "{committed:?} {last:?}");
            copied.extend(1..=committed.unwrap_or(0));
        }
        copied.sort_unstable();
        // Each epoch's output is there once, in both parts, up to the committed offsets and no further.
        for partition in 0..2 {
            let out = texts(&log, &at("out", partition));
            let mut out: Vec<u64> = out.iter().map(|text| text.parse().unwrap()).collect();
            out.sort_unstable();
            assert_eq!(out, copied);
        }
    }
}

/// Appends until the process may write no larger file, and goes on for a while.
fn write_beyond_the_limit(directory: &std::path::Path) {
    let log = with_topic(directory);
    for number in 0..60_u64 {
        let text: String = noise(number, 300_000)
            .iter()
            .map(|byte| char::from(b'!' + byte % 90))
            .collect();
        match append(&log, at("t", 0), batch([&text])) {
            Ok(_) => println!("appended {number}"),
            Err(error) => println!("failed {number} {error}"),
        }
    }
}

#[test]
fn a_write_error_fails_the_append_and_nothing_that_failed_appears() {
    let name = "crash::a_write_error_fails_the_append_and_nothing_that_failed_appears";
    if let Some(directory) = child_directory() {
        return write_beyond_the_limit(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    // With SIGXFSZ ignored, a write beyond the limit is an error like any other of the disk.
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 8192; exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env("RECHKA_LOG_TEST_CHILD", directory.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = |what| {
        let lines = output.lines().filter_map(move |line| line.split_once(what));
        lines
            .map(|(_, rest)| rest.split(' ').next().unwrap().parse::<u64>().unwrap())
            .collect::<Vec<_>>()
    };
    let (appended, failed) = (numbers("appended "), numbers("failed "));
    assert!(!appended.is_empty() && !failed.is_empty(), "{output}");
    assert_eq!(appended.len() + failed.len(), 60);
    let log = SqliteLog::open(directory.path()).unwrap();
    let texts = texts(&log, &at("t", 0));
    let expected = appended.iter().map(|number| {
        let noise = noise(*number, 300_000).into_iter();
        noise.map(|byte| char::from(b'!' + byte % 90)).collect::<String>()
    });
    assert!(texts == expected.collect::<Vec<_>>());
    append(&log, at("t", 0), batch(["works again"])).unwrap();
}
