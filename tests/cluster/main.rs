//! The binary on a real Kafka cluster: the address stands in `RECHKA_KAFKA` (`cargo xtask test` starts one; by hand: `cargo xtask kafka up`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod recovery;
mod worker;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use worker::Worker;

/// How long queries may take to come to the end of what there is.
const PATIENCE: Duration = Duration::from_secs(120);
const RECORDS: u64 = 20_000;

/// The address of the cluster, or why nothing is tested.
fn cluster() -> Option<String> {
    match std::env::var("RECHKA_KAFKA") {
        Ok(bootstrap) => Some(format!("kafka://{bootstrap}")),
        Err(_) if std::env::var("RECHKA_TEST_REQUIRE_ALL").as_deref() == Ok("1") => panic!("RECHKA_KAFKA is not set"),
        Err(_) => {
            println!("skipped: RECHKA_KAFKA is not set (cargo xtask kafka up says it)");
            None
        }
    }
}

fn rechka(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rechka"));
    command.args(arguments);
    command
}

/// What a command prints.
fn printed(arguments: &[&str]) -> Vec<String> {
    let output = rechka(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Writes records of `RECORDS` clicks into a topic of four partitions, from a number on.
fn produce(log: &str, topic: &str, from: u64) {
    let mut child = rechka(&["produce", topic, "--partitions", "4", "--log", log])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    for number in from..from + RECORDS {
        let (user, page) = (number % 101, number % 7);
        writeln!(input, r#"{{"user":{user},"page":"p{page}","ts":{}}}"#, number * 10).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Windows behind an exchange, and totals by key in a view. Every window is closed by the click that follows it.
fn pipeline(folder: &Path, tag: &str) -> String {
    let text = format!(
        "CREATE STREAM clicks (user BIGINT, page TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
           WITH (topic = '{tag}.clicks', partitions = 4);
         CREATE STREAM counts_{tag} WITH (topic = '{tag}.counts') AS
           SELECT page, window_start, window_end, count(*) AS n, sum(user) AS total
           FROM TUMBLE(clicks, ts, INTERVAL '10 seconds') GROUP BY page, window_start, window_end;"
    );
    let file = folder.join(format!("{tag}.sql"));
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

/// The rows that the pipeline makes of the same clicks on the embedded log.
fn expected(folder: &Path, tag: &str, pieces: u64) -> Vec<String> {
    let log = format!("embedded:{}", folder.join("embedded").display());
    for piece in 0..pieces {
        produce(&log, &format!("{tag}.clicks"), piece * RECORDS);
    }
    printed(&["run", "--once", &pipeline(folder, tag), "--log", &log]);
    sorted(printed(&["consume", &format!("{tag}.counts"), "--log", &log]))
}

/// Names of its own for each test and run: they share the cluster.
fn tag(name: &str) -> String {
    format!("{name}_{}", std::process::id())
}

#[test]
fn a_pipeline_makes_the_same_rows_on_a_cluster_as_on_the_embedded_log() {
    let Some(log) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tag = tag("same");
    let wanted = expected(folder.path(), &tag, 1);
    assert!(wanted.len() > 100);
    produce(&log, &format!("{tag}.clicks"), 0);
    printed(&["run", "--once", &pipeline(folder.path(), &tag), "--log", &log]);
    assert_eq!(
        sorted(printed(&["consume", &format!("{tag}.counts"), "--log", &log])),
        wanted
    );
}

/// Two workers share the partitions; one is killed by force while clicks come, and another comes in its place.
#[test]
fn two_workers_of_which_one_is_killed_count_every_click_once() {
    let Some(log) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tag = tag("workers");
    let wanted = expected(folder.path(), &tag, 3);
    let file = pipeline(folder.path(), &tag);
    let topic = format!("{tag}.clicks");
    produce(&log, &topic, 0);
    let first = Worker::start(&file, &log, &[]);
    let _second = Worker::start(&file, &log, &[]);
    produce(&log, &topic, RECORDS);
    drop(first);
    let _third = Worker::start(&file, &log, &[]);
    produce(&log, &topic, 2 * RECORDS);
    await_rows(&log, &tag, &wanted, 3);
}

/// Waits until the rows are there that the embedded log gave, but for the last windows, which stay open: nothing is behind them.
fn await_rows(log: &str, tag: &str, wanted: &[String], pieces: u64) {
    let last = RECORDS * pieces * 10 / 1000 - 20;
    let last = format!("{:02}:{:02}", last / 60, last % 60);
    let open = |row: &&String| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["window_end"].as_str().unwrap()[14..19] >= *last
    };
    let closed: Vec<_> = wanted.iter().filter(|row| !open(row)).cloned().collect();
    assert!(closed.len() as u64 > 100 * pieces, "{}", closed.len());
    let since = Instant::now();
    loop {
        let found = sorted(printed(&["consume", &format!("{tag}.counts"), "--log", log]));
        if found.len() >= closed.len() {
            let found: Vec<_> = found.iter().filter(|row| !open(row)).cloned().collect();
            assert_eq!(found, closed);
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{} of {} rows", found.len(), closed.len());
        thread::sleep(Duration::from_millis(500));
    }
}

/// Each keeps a copy of the other's state. The one that is left goes on from its copy.
#[test]
fn when_a_worker_is_killed_the_other_goes_on_from_its_copy_of_the_state() {
    let Some(log) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tag = tag("standby");
    let wanted = expected(folder.path(), &tag, 3);
    let file = pipeline(folder.path(), &tag);
    let topic = format!("{tag}.clicks");
    produce(&log, &topic, 0);
    let first = Worker::start(&file, &log, &[]);
    let second = Worker::start(&file, &log, &[]);
    produce(&log, &topic, RECORDS);
    for worker in [&first, &second] {
        worker.await_ready();
        worker.await_standbys();
    }
    drop(first);
    produce(&log, &topic, 2 * RECORDS);
    await_rows(&log, &tag, &wanted, 3);
    assert!(second.said("is_warm=true"), "no copy was of use:\n{}", second.output());
}

/// Workers are asked to stop and come back one after another while clicks come.
#[test]
fn a_rolling_restart_of_two_workers_loses_and_repeats_nothing() {
    let Some(log) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tag = tag("rolling");
    let wanted = expected(folder.path(), &tag, 4);
    let file = pipeline(folder.path(), &tag);
    let topic = format!("{tag}.clicks");
    produce(&log, &topic, 0);
    // One of them has a name, so both ways of coming back are tried.
    let options: [&[&str]; 2] = [&["--worker", "anna"], &[]];
    let mut workers = options.map(|options| Worker::start(&file, &log, options));
    thread::scope(|scope| {
        let clicks = scope.spawn(|| (1..4).for_each(|piece| produce(&log, &topic, piece * RECORDS)));
        for (worker, options) in workers.iter_mut().zip(options) {
            worker.await_ready();
            worker.stop();
            *worker = Worker::start(&file, &log, options);
        }
        clicks.join().unwrap();
    });
    workers.iter().for_each(Worker::await_ready);
    await_rows(&log, &tag, &wanted, 4);
}

#[test]
fn a_second_worker_of_a_name_is_refused_and_the_first_goes_on() {
    let Some(log) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tag = tag("named");
    let wanted = expected(folder.path(), &tag, 2);
    let file = pipeline(folder.path(), &tag);
    let topic = format!("{tag}.clicks");
    produce(&log, &topic, 0);
    let first = Worker::start(&file, &log, &["--worker", "anna"]);
    first.await_ready();
    let mut second = Worker::start(&file, &log, &["--worker", "anna"]);
    assert!(!second.await_end().success());
    assert!(
        second.said("another process is the worker \"anna\""),
        "{}",
        second.output()
    );
    produce(&log, &topic, RECORDS);
    await_rows(&log, &tag, &wanted, 2);
}
