//! How long an event takes until its result is seen: `cargo run --release -p rechka-bench --features engine --bin latency
//! [SECONDS [RATE [DIR]]]`.
//!
//! A producer appends events at a steady pace to the embedded log; a query runs over them, exactly once, in epochs of 100 ms; a reader follows
//! its result. The time of an event runs from the moment at which it was due to be handed to the log (whether or not the producer
//! was held up: open loop, so that nothing is left out when the system falls behind) to the moment at which the reader has the first record
//! that counts it. Beside the queries stands the log alone: the reader follows the events themselves. Before the measured
//! seconds come as many for warming up as [`WARM_UP`] says.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use rechka_bench::{Random, Stopwatch, percentile};
use rechka_engine::{Outside, RunOptions, RunningQuery};
use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::Pipeline;
use serde::Deserialize;

/// How often the producer appends.
const TICK: Duration = Duration::from_millis(1);
/// Seconds before the measured ones.
const WARM_UP: u64 = 3;
/// The groups of the window count. Event `n` belongs to group `n % GROUPS`.
const GROUPS: u64 = 104;
/// How long the last results may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
struct Subject {
    name: &'static str,
    /// The query `result` over `events`; none: the log alone.
    query: Option<&'static str>,
    /// Whether a record counts all events of its group up to one, and not that one alone.
    groups: bool,
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "the log alone",
        query: None,
        groups: false,
    },
    Subject {
        name: "filter and projection",
        query: Some("CREATE STREAM result AS SELECT id, price * 2 AS price, at FROM events WHERE price >= 0"),
        groups: false,
    },
    Subject {
        name: "w1, updated",
        query: Some(
            "CREATE STREAM result WITH (output_mode = 'update') AS SELECT channel, window_start, window_end, count(*) AS n, \
             avg(price) AS mean, max(id) AS id FROM TUMBLE(events, at, INTERVAL '10 seconds') GROUP BY channel, window_start, window_end",
        ),
        groups: true,
    },
];

const EVENTS: &str = "CREATE STREAM events (id BIGINT, channel TEXT, price BIGINT, at TIMESTAMP, \
                      WATERMARK FOR at AS at - INTERVAL '1 second');";

/// How events come.
#[derive(Clone, Copy)]
struct Pace {
    /// When the first is due, by both clocks.
    start: Instant,
    wall: i64,
    per_tick: u64,
    count: u64,
}

impl Pace {
    fn due(&self, event: u64) -> Instant {
        self.start + TICK * (event / self.per_tick) as u32
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments
        .next()
        .map_or(Ok(20), |text| text.parse())
        .context("SECONDS")?;
    let rate: u64 = arguments
        .next()
        .map_or(Ok(100_000), |text| text.parse())
        .context("RATE")?;
    let directory = PathBuf::from(arguments.next().unwrap_or("target/bench-latency".to_owned()));
    println!("{rate} events/s for {seconds} s, milliseconds\n");
    println!(
        "{:<24}{:>8}{:>8}{:>8}{:>8}{:>10}{:>14}",
        "", "p50", "p95", "p99", "max", "records", "cpu s per s"
    );
    for subject in &SUBJECTS {
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        measure(subject, seconds, rate, &directory)?;
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn measure(subject: &Subject, seconds: u64, rate: u64, directory: &Path) -> Result<()> {
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory)?);
    log.create_topic(&TopicSpec::new("events", 1))?;
    let running = subject.query.map(|query| run(&log, query)).transpose()?;
    let start = Instant::now() + Duration::from_millis(500);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64 + 500;
    let per_tick = rate / (Duration::from_secs(1).as_nanos() / TICK.as_nanos()) as u64;
    ensure!(per_tick > 0, "RATE is at least one event a tick");
    let count = rate * (seconds + WARM_UP);
    let pace = Pace {
        start,
        wall,
        per_tick,
        count,
    };
    let producer = {
        let log = log.clone();
        thread::spawn(move || produce(&*log, pace))
    };
    thread::sleep(start.saturating_duration_since(Instant::now()));
    let watch = Stopwatch::start();
    let topic = if running.is_some() { "result" } else { "events" };
    let (mut times, records) = follow(&*log, topic, subject.groups, pace, rate * WARM_UP)?;
    let processor = watch.processor_seconds() / watch.seconds();
    producer
        .join()
        .map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    let mut at = |share| percentile(&mut times, share).as_secs_f64() * 1e3;
    println!(
        "{:<24}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{records:>10}{processor:>14.2}",
        subject.name,
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
    running.map_or(Ok(()), |running| Ok(running.stop()?))
}

fn run(log: &Arc<dyn Log>, query: &str) -> Result<RunningQuery> {
    let pipeline = Pipeline::read(&format!("{EVENTS} {query}"), Path::new(""), &Outside::new(""))?;
    let running = pipeline.running.into_iter().next().context("no query")?;
    let options = RunOptions {
        epoch: Duration::from_millis(100),
        ..RunOptions::default()
    };
    Ok(rechka_engine::run(log.clone(), running.query, options)?)
}

/// Appends the events of each tick when it is due, or as soon after as the log takes them.
fn produce(log: &dyn Log, pace: Pace) -> Result<()> {
    let mut random = Random(42);
    let mut extra = Vec::new();
    random.letters(100, &mut extra);
    let extra = String::from_utf8(extra)?;
    let mut event = 0;
    while event < pace.count {
        let milliseconds = pace.wall + (event / pace.per_tick) as i64;
        let mut batch = BatchBuilder::new();
        for event in event..pace.count.min(event + pace.per_tick) {
            let (channel, price) = (event % GROUPS, random.below(1_000));
            let value = format!(
                r#"{{"id":{event},"channel":"channel-{channel}","price":{price},"at":{milliseconds},"extra":"{extra}"}}"#
            );
            batch.push(None, value.as_bytes(), milliseconds, &[])?;
        }
        thread::sleep(pace.due(event).saturating_duration_since(Instant::now()));
        let to = TopicPartition::new("events", 0);
        // That it is durable is seen by the reader; a full log makes this wait, and the events are late then.
        drop(log.append(vec![Append {
            to,
            batch: batch.finish(),
        }])?);
        event += pace.per_tick;
    }
    Ok(())
}

/// Follows a topic until all events are counted; gives the times of those from `first` on, and the number of records.
fn follow(log: &dyn Log, topic: &str, groups: bool, pace: Pace, first: u64) -> Result<(Vec<Duration>, u64)> {
    #[derive(Deserialize)]
    struct Row {
        id: u64,
    }
    let mut reader = log.read(vec![(TopicPartition::new(topic, 0), 0)])?;
    let mut next: Vec<u64> = (0..GROUPS).collect();
    let (mut times, mut counted, mut records) = (Vec::with_capacity((pace.count - first) as usize), 0, 0);
    while counted < pace.count {
        let fetched = reader.poll(PATIENCE)?.context("results are missing")?;
        let now = Instant::now();
        for record in fetched.batch.iter() {
            records += 1;
            let Row { id } = serde_json::from_slice(record.value)?;
            let mut count = |event: u64| {
                counted += 1;
                if event >= first {
                    times.push(now.saturating_duration_since(pace.due(event)));
                }
            };
            if !groups {
                count(id);
                continue;
            }
            let next = &mut next[(id % GROUPS) as usize];
            while *next <= id {
                count(*next);
                *next += GROUPS;
            }
        }
    }
    Ok((times, records))
}
