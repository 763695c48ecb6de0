//! How long a query takes to go on after a restart: `cargo run --release -p rechka-bench --features engine --bin restart [KEYS [DIR]]`.
//!
//! A query counts and sums by key, exactly once, until every key is in its state. Then it is stopped, and the log closed. Measured is from
//! there: opening the log, and from the start of the query, while an event waits, to the moment at which a reader has the result that
//! counts it. Two queries: one that puts out what changes, and one whose window the waiting event closes, so that all its groups are put out.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rechka_bench::Stopwatch;
use rechka_engine::{Outside, RunOptions, RunningQuery};
use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::Pipeline;

/// Events in one append.
const BATCH: u64 = 2_000;
/// How long a result may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Queries whose state is one group for each key.
const QUERIES: [(&str, &str); 2] = [
    (
        "groups that change",
        "CREATE STREAM result WITH (output_mode = 'update') AS SELECT key, count(*) AS n, sum(value) AS s FROM events GROUP BY key",
    ),
    (
        "an open window",
        "CREATE STREAM result AS SELECT key, window_end, count(*) AS n, sum(value) AS s \
         FROM TUMBLE(events, at, INTERVAL '1 hour') GROUP BY key, window_start, window_end",
    ),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let keys: u64 = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())
        .context("KEYS")?;
    let directory = PathBuf::from(arguments.next().unwrap_or("target/bench-restart".to_owned()));
    println!(
        "{keys} keys, seconds\n\n{:<24}{:>12}{:>14}{:>16}{:>12}{:>12}",
        "", "to build it", "open the log", "first result", "cpu", "state"
    );
    for (name, query) in QUERIES {
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        measure(name, query, keys, &directory)?;
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn measure(name: &str, query: &str, keys: u64, directory: &Path) -> Result<()> {
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory)?);
    log.create_topic(&TopicSpec::new("events", 1))?;
    let mut key = 0;
    while key < keys {
        let last = keys.min(key + BATCH);
        append(&*log, (key..last).map(|key| event(key, 0)))?;
        key = last;
    }
    let building = Instant::now();
    let running = run(&log, query)?;
    while running
        .statistics()
        .tasks
        .iter()
        .map(|task| task.records_in)
        .sum::<u64>()
        < keys
    {
        thread::sleep(Duration::from_millis(5));
        if let Some(error) = running.statistics().error {
            anyhow::bail!(error);
        }
    }
    let state: usize = running.statistics().tasks.iter().map(|task| task.state_bytes).sum();
    running.stop()?;
    let built = building.elapsed();
    let seen = log.offsets(&TopicPartition::new("result", 0))?.end;
    // The watermark that this event brings closes the window.
    append(&*log, [event(0, 7_200_000)].into_iter())?;
    drop(log);

    let opening = Instant::now();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory)?);
    let opened = opening.elapsed();
    let mut reader = log.read(vec![(TopicPartition::new("result", 0), seen)])?;
    let (starting, watch) = (Instant::now(), Stopwatch::start());
    let running = run(&log, query)?;
    reader.poll(PATIENCE)?.context("no result")?;
    println!(
        "{name:<24}{:>12.2}{:>14.3}{:>16.2}{:>12.2}{:>9} MiB",
        built.as_secs_f64(),
        opened.as_secs_f64(),
        starting.elapsed().as_secs_f64(),
        watch.processor_seconds(),
        state >> 20,
    );
    Ok(running.stop()?)
}

fn event(key: u64, at: u64) -> String {
    format!(r#"{{"key":{key},"value":{},"at":{at}}}"#, key % 1_000)
}

fn append(log: &dyn Log, values: impl Iterator<Item = String>) -> Result<()> {
    let mut batch = BatchBuilder::new();
    for value in values {
        batch.push(None, value.as_bytes(), 0, &[])?;
    }
    let to = TopicPartition::new("events", 0);
    log.append(vec![Append {
        to,
        batch: batch.finish(),
    }])?
    .wait()?;
    Ok(())
}

fn run(log: &Arc<dyn Log>, query: &str) -> Result<RunningQuery> {
    let events = "CREATE STREAM events (key BIGINT, value BIGINT, at TIMESTAMP, WATERMARK FOR at AS at);";
    let pipeline = Pipeline::read(&format!("{events} {query}"), Path::new(""), &Outside::new(""))?;
    let running = pipeline.running.into_iter().next().context("no query")?;
    Ok(rechka_engine::run(log.clone(), running.query, RunOptions::default())?)
}
