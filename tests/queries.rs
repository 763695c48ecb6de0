//! `kill -9` of `rechka run` again and again while records come: windows, a join, a query of a query and a view hold exactly what they
//! hold undisturbed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rechka_log::{Append, BatchBuilder, Log, Partition, SqliteLog, TopicPartition, TopicSpec};

const PIPELINE: &str = "
CREATE STREAM clicks (id BIGINT, page TEXT, ms BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '2 seconds')
  WITH (partitions = 2);
CREATE STREAM buys (id BIGINT, page TEXT, price BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '2 seconds')
  WITH (partitions = 2);
CREATE STREAM counts AS
  SELECT page, window_start, window_end, count(*) AS n, sum(ms) AS total FROM TUMBLE(clicks, ts, INTERVAL '1 second')
  GROUP BY page, window_start, window_end;
CREATE STREAM pairs AS
  SELECT c.id AS click, b.id AS buy, c.page FROM clicks AS c
  LEFT JOIN buys AS b ON c.page = b.page AND c.ms = b.price AND b.ts BETWEEN c.ts AND c.ts + INTERVAL '2 seconds';
CREATE STREAM busy AS
  SELECT window_end, max(n) AS most, sum(n) AS n FROM counts GROUP BY window_end;
CREATE MATERIALIZED VIEW pages AS
  SELECT page, count(*) AS n, sum(ms) AS total FROM clicks GROUP BY page;
";
const INPUTS: [&str; 2] = ["clicks", "buys"];
const PARTITIONS: Partition = 2;
/// Clicks that come between two kills; of five, one is bought.
const PIECE: i64 = 4_000;
/// Records of an append.
const BATCH: usize = 100;

/// Values, and how often each is there.
type Values = BTreeMap<String, usize>;

/// Kills per run: `RECHKA_KILLS=100` for the long form.
fn kills() -> usize {
    let number = std::env::var("RECHKA_KILLS").ok().and_then(|text| text.parse().ok());
    number.unwrap_or(8)
}

/// Appends the clicks and buys of a piece: 2 ms apart, up to 2 s older than those before them.
fn append(folder: &Path, piece: usize) {
    let log = SqliteLog::open(folder).unwrap();
    for topic in INPUTS {
        log.create_topic(&TopicSpec::new(topic, PARTITIONS)).unwrap();
    }
    let mut random = StdRng::seed_from_u64(piece as u64);
    let mut waiting = BTreeMap::<(&str, Partition), Vec<String>>::new();
    let first = piece as i64 * PIECE;
    for id in first..first + PIECE {
        let time = 10_000 + id * 2 - random.random_range(0..1_900);
        let (page, ms) = (random.random_range(0..50), random.random_range(0..100));
        let mut add = |topic, json| {
            let place = (topic, random.random_range(0..PARTITIONS));
            let values = waiting.entry(place).or_default();
            values.push(json);
            if values.len() == BATCH {
                write(&log, place, &std::mem::take(values));
            }
        };
        add(
            "clicks",
            format!(r#"{{"id":{id},"page":"p{page}","ms":{ms},"ts":{time}}}"#),
        );
        if id % 5 == 0 {
            add(
                "buys",
                format!(r#"{{"id":{id},"page":"p{page}","price":{ms},"ts":{}}}"#, time + 700),
            );
        }
    }
    waiting
        .into_iter()
        .for_each(|(place, values)| write(&log, place, &values));
}

fn write(log: &SqliteLog, (topic, partition): (&str, Partition), values: &[String]) {
    if values.is_empty() {
        return;
    }
    let mut batch = BatchBuilder::new();
    for value in values {
        batch.push(None, value.as_bytes(), 0, &[]).unwrap();
    }
    let to = TopicPartition::new(topic, partition);
    let batch = batch.finish();
    log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
}

fn rechka_run(folder: &Path) -> Command {
    let file = folder.join("pipeline.sql");
    std::fs::write(&file, PIPELINE).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rechka"));
    command
        .arg("run")
        .arg(file)
        .arg("--log")
        .arg(format!("embedded:{}", folder.display()));
    command
        .args(["--epoch", "20ms"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// All that the pipeline has made of all pieces, by topic, when it is killed `kills` times on its way.
fn run(folder: &Path, pieces: usize, kills: usize) -> BTreeMap<&'static str, Values> {
    let mut moments = StdRng::seed_from_u64(7);
    for piece in 0..pieces {
        append(folder, piece);
        if piece < kills {
            let mut child = rechka_run(folder).args(["--listen", "127.0.0.1:0"]).spawn().unwrap();
            thread::sleep(Duration::from_millis(moments.random_range(50..1_500)));
            assert_eq!(child.try_wait().unwrap(), None, "rechka run ended by itself");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    if kills > 0 {
        let made = records(&SqliteLog::open(folder).unwrap(), "counts").count();
        assert!(made > 0, "the runs that were killed have made nothing");
    }
    assert!(rechka_run(folder).arg("--once").status().unwrap().success());
    let log = SqliteLog::open(folder).unwrap();
    let rows = |topic| {
        let mut values = Values::new();
        records(&log, topic).for_each(|(_, value)| *values.entry(value).or_default() += 1);
        (topic, values)
    };
    let mut made: BTreeMap<_, _> = ["counts", "pairs", "busy", "counts.late", "pairs.late"]
        .map(rows)
        .into();
    // Of a view, the last row of each key counts; how often it changes is the epochs' affair.
    let last: BTreeMap<_, _> = records(&log, "pages").collect();
    made.insert("pages", last.into_values().map(|row| (row, 1)).collect());
    made
}

fn records(log: &SqliteLog, topic: &'static str) -> impl Iterator<Item = (String, String)> {
    let partitions = log
        .topics()
        .unwrap()
        .into_iter()
        .find(|spec| &*spec.name == topic)
        .unwrap()
        .partitions;
    (0..partitions).flat_map(move |partition| {
        let name = TopicPartition::new(topic, partition);
        let offsets = log.offsets(&name).unwrap();
        let (mut next, mut reader) = (offsets.start, log.read(vec![(name, offsets.start)]).unwrap());
        let mut found = Vec::new();
        while next < offsets.end {
            let fetched = reader.poll(Duration::from_secs(10)).unwrap().unwrap();
            next = fetched.next_offset();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let records = fetched.batch.iter();
            found.extend(records.map(|record| (text(record.key.unwrap_or_default()), text(record.value))));
        }
        found
    })
}

#[test]
fn queries_that_are_killed_again_and_again_make_what_they_make_undisturbed() {
    let kills = kills();
    let (calm, disturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(calm.path(), kills + 1, 0);
    let found = run(disturbed.path(), kills + 1, kills);
    let clicks = PIECE as usize * (kills + 1);
    assert!(expected["counts"].len() > 100 && expected["busy"].len() > 5 && expected["pages"].len() == 50);
    assert!(
        expected["pairs"].values().sum::<usize>() >= clicks,
        "each click is paired, or said to be alone"
    );
    assert!(
        expected["counts.late"].is_empty() && expected["pairs.late"].is_empty(),
        "nothing is late"
    );
    for (topic, values) in &expected {
        let count = |values: &Values, value: &String| values.get(value).copied().unwrap_or_default();
        let all = values.keys().chain(found[topic].keys());
        let wrong: Vec<_> = all
            .filter(|value| count(values, value) != count(&found[topic], value))
            .take(5)
            .collect();
        assert!(wrong.is_empty(), "{topic} differs, for example in {wrong:#?}");
    }
}
