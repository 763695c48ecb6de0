//! How long it takes from the death of a worker until the output of its partitions goes on. A measurement:
//! `RECHKA_KAFKA=… cargo test … --test cluster -- --ignored recovery --nocapture`, with `RECOVERY_KEYS` (1,000,000), `RECOVERY_KILLS` (5)
//! and `RECOVERY_STANDBYS` (1).
use std::{
    io::Write,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rechka_log::{KafkaLog, Log, TopicPartition};

use super::{cluster, rechka, tag, worker::Worker};

const PARTITIONS: u32 = 4;
/// One record for each partition so often.
const BEAT: Duration = Duration::from_millis(50);

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |value| value.parse().expect("a number"))
}

/// When each partition put something out.
type Seen = Arc<Mutex<Vec<Vec<Instant>>>>;

/// Writes the keys from standard input into the topic.
fn produce(log: &str, topic: &str, keys: u64) {
    let arguments = [
        "produce",
        topic,
        "--partitions",
        "4",
        "--key-separator",
        ":",
        "--log",
        log,
    ];
    let mut child = rechka(&arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    for key in 0..keys {
        writeln!(input, r#"{key}:{{"user":{key},"ts":{}}}"#, 1000 + key).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Notes when which partition of a topic gets records.
fn watch(log: &KafkaLog, topic: &str, seen: &Seen, stop: &AtomicBool) {
    let names = (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition));
    let from = names.map(|name| {
        let end = log.offsets(&name).unwrap().end;
        (name, end)
    });
    let mut reader = log.read(from.collect()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        if let Some(fetched) = reader.poll(Duration::from_millis(100)).unwrap() {
            seen.lock().unwrap()[fetched.from.partition as usize].push(Instant::now());
        }
    }
}

/// A record to each partition again and again.
fn beat(log: &KafkaLog, topic: &str, stop: &AtomicBool) {
    let mut builder = rechka_log::BatchBuilder::new();
    builder.push(None, br#"{"user":1,"ts":9000000}"#, 0, &[]).unwrap();
    let batch = builder.finish();
    while !stop.load(Ordering::Relaxed) {
        let append = |partition| rechka_log::Append {
            to: TopicPartition::new(topic, partition),
            batch: batch.clone(),
        };
        let _ = log.append((0..PARTITIONS).map(append).collect()).unwrap().wait();
        thread::sleep(BEAT);
    }
}

/// From the death until every partition has put something out again: behind the longest pause that each makes around it.
fn recovery(seen: &Seen, died: Instant) -> Option<Duration> {
    let seen = seen.lock().unwrap();
    let of = |times: &Vec<Instant>| {
        let around: Vec<Instant> = times
            .iter()
            .copied()
            .filter(|at| *at + Duration::from_secs(1) > died)
            .collect();
        let pauses = around.windows(2).filter(|pair| pair[1] > died);
        let longest = pauses.max_by_key(|pair| pair[1] - pair[0])?;
        Some(longest[1] - died)
    };
    seen.iter().map(of).collect::<Option<Vec<_>>>()?.into_iter().max()
}

#[test]
#[ignore = "a measurement"]
fn recovery_after_a_kill() {
    let Some(location) = cluster() else { return };
    let (keys, kills) = (setting("RECOVERY_KEYS", 1_000_000), setting("RECOVERY_KILLS", 5));
    let standbys = setting("RECOVERY_STANDBYS", 1).to_string();
    let folder = tempfile::tempdir().unwrap();
    let tag = tag("recovery");
    let (topic, out) = (format!("{tag}.clicks"), format!("{tag}.totals"));
    let text = format!(
        "CREATE STREAM clicks (user BIGINT, ts TIMESTAMP) WITH (topic = '{topic}', partitions = {PARTITIONS}, key = 'user');
         CREATE MATERIALIZED VIEW totals_{tag} WITH (topic = '{out}') AS
           SELECT user, count(*) AS n, max(ts) AS last FROM clicks GROUP BY user;"
    );
    let file = folder.path().join("recovery.sql");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    produce(&location, &topic, keys);
    let start = || Worker::start(&file, &location, &["--standbys", &standbys]);
    let mut workers = vec![start(), start()];
    workers.iter().for_each(Worker::await_ready);
    let log = KafkaLog::open(&location.parse().unwrap()).unwrap();
    let (seen, stop) = (
        Seen::new(Mutex::new(vec![Vec::new(); PARTITIONS as usize])),
        AtomicBool::new(false),
    );
    let mut all = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| beat(&log, &topic, &stop));
        scope.spawn(|| watch(&log, &out, &seen, &stop));
        for _ in 0..kills {
            workers
                .iter()
                .for_each(|worker| worker.await_caught_up(keys / 2 * u64::from(standbys == "1")));
            thread::sleep(Duration::from_secs(2));
            drop(workers.remove(0));
            let died = Instant::now();
            thread::sleep(Duration::from_secs(12));
            let recovery = recovery(&seen, died).expect("output in every partition");
            println!("standbys {standbys}: {:.2} s", recovery.as_secs_f64());
            all.push(recovery);
            workers.push(start());
            workers.iter().for_each(Worker::await_ready);
        }
        stop.store(true, Ordering::Relaxed);
    });
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize].as_secs_f64();
    println!(
        "{keys} keys, standbys {standbys}, {kills} kills: p50 {:.2} s, p95 {:.2} s",
        at(0.5),
        at(0.95)
    );
    println!("{}", workers[0].output());
}
