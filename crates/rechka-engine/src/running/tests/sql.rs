//! Queries as they are written, planned and run by the real operators.
use std::{collections::BTreeMap, time::Duration};

use rechka_log::Partition;
use rechka_sql::{
    Catalog, Statement,
    logical::logical_plan,
    plan::Query,
    statement::Declare,
    stream::{Options, plan_query},
};

use super::{crashes, support::*};
use crate::{Delivery, RunOptions, RunningQuery, run};

const STREAMS: &str =
    "CREATE STREAM events (key BIGINT, ts TIMESTAMP, value BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
    WITH (partitions = 2);
  CREATE STREAM others (key BIGINT, ts TIMESTAMP, value BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
    WITH (partitions = 2);";

/// The queries of a pipeline over two streams of two partitions.
pub fn pipeline(text: &str) -> Vec<Query> {
    let mut catalog = Catalog::default();
    let mut queries = Vec::new();
    for statement in Statement::parse(&format!("{STREAMS}{text}")).unwrap() {
        match statement {
            Statement::Declare(Declare { relation, .. }) => {
                catalog.declare_relation(relation).unwrap();
            }
            Statement::Derive(derive) => {
                let plan = logical_plan(&catalog, &derive.query).unwrap();
                let query = plan_query(&derive.name, plan, &Options::from(&derive)).unwrap();
                catalog.declare_relation(query.result.clone()).unwrap();
                queries.push(query);
            }
            other => panic!("{other:?}"),
        }
    }
    queries
}

/// A log with both streams, in small batches.
pub fn stored(count: i64) -> TestLog {
    let log = TestLog::new();
    for (topic, step) in [("events", 1), ("others", 3)] {
        log.create(topic, 2);
        for partition in 0..2 {
            let numbers = (0..count).step_by(step);
            let events = numbers.map(|number| event(number % 5, number / 2, number + i64::from(partition)));
            log.append(topic, partition, &events.collect::<Vec<_>>(), 3);
        }
    }
    log
}

/// What a relation holds: all rows, or of a keyed one the last of each key. Sorted.
pub fn rows(log: &TestLog, query: &Query) -> Vec<String> {
    let mut last = BTreeMap::<(Partition, String), String>::new();
    let mut all = Vec::new();
    let keyed = query.result.kind != rechka_sql::Kind::Stream;
    for (partition, key, value) in log.records(&query.result.topic) {
        match key.filter(|_| keyed) {
            Some(key) if value.is_empty() => drop(last.remove(&(partition, key))),
            Some(key) => drop(last.insert((partition, key), value)),
            None => all.push(value),
        }
    }
    all.extend(last.into_values());
    all.sort();
    all
}

/// Runs a query to its end; the tasks die at these steps.
fn run_with_deaths(query: &Query, deaths: Vec<usize>) -> (Vec<String>, usize) {
    let log = stored(200);
    let (failpoint, steps) = crashes::die_at(deaths);
    let options = RunOptions {
        failpoint,
        new_operator: RunOptions::default().new_operator,
        ..crashes::small_epochs(Delivery::ExactlyOnce)
    };
    run(log.log.clone(), query.clone(), options).unwrap().wait().unwrap();
    (rows(&log, query), steps.load(std::sync::atomic::Ordering::SeqCst))
}

fn survives_crashes(sql: &str) -> Vec<String> {
    let query = pipeline(sql).remove(0);
    let (expected, steps) = run_with_deaths(&query, vec![]);
    assert!(!expected.is_empty());
    for step in (0..steps).step_by((steps / 12).max(1)) {
        let (found, _) = run_with_deaths(&query, vec![step, step + 9, step + 30]);
        assert_eq!(found, expected, "died at step {step}");
    }
    expected
}

#[test]
fn counts_by_window_survive_crashes() {
    let rows = survives_crashes(
        "CREATE STREAM counts AS SELECT key, window_start, count(*) AS n, sum(value) AS total
         FROM TUMBLE(events, ts, INTERVAL '10 seconds') GROUP BY key, window_start, window_end;",
    );
    // 200 events in each of two partitions, half a second apart: 5 keys in each of 10 windows, 4 each from both.
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|row| row.contains(r#""n":8"#)), "{rows:?}");
}

#[test]
fn sessions_survive_crashes() {
    survives_crashes(
        "CREATE STREAM sessions AS SELECT key, window_start, window_end, count(*) AS n
         FROM SESSION(events, ts, INTERVAL '3 seconds') GROUP BY key, window_start, window_end;",
    );
}

#[test]
fn joins_survive_crashes() {
    survives_crashes(
        "CREATE STREAM pairs AS SELECT e.key, e.ts, e.value, o.value AS other FROM events e JOIN others o
         ON e.key = o.key AND o.ts BETWEEN e.ts - INTERVAL '2 seconds' AND e.ts + INTERVAL '2 seconds';",
    );
}

#[test]
fn views_of_changing_groups_survive_crashes() {
    let rows = survives_crashes(
        "CREATE MATERIALIZED VIEW totals AS SELECT key, count(*) AS n, max(value) AS most FROM events GROUP BY key;",
    );
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.contains(r#""n":80"#)), "{rows:?}");
}

#[test]
fn a_pipeline_of_several_queries_gives_the_same_live_and_to_the_end() {
    let queries = pipeline(
        "CREATE STREAM counts AS SELECT key, window_time AS at, count(*) AS n
           FROM TUMBLE(events, ts, INTERVAL '10 seconds') GROUP BY key, window_start, window_end, window_time;
         CREATE STREAM most AS SELECT window_start, max(n) AS most
           FROM TUMBLE(counts, at, INTERVAL '20 seconds') GROUP BY window_start, window_end;",
    );
    let log = stored(200);
    for query in &queries {
        run(log.log.clone(), query.clone(), real(to_the_end()))
            .unwrap()
            .wait()
            .unwrap();
    }
    let expected = rows(&log, &queries[1]);
    assert_eq!(expected.len(), 5);
    let log = stored(200);
    let running: Vec<_> = queries
        .iter()
        .map(|query| run(log.log.clone(), query.clone(), real(options())).unwrap())
        .collect();
    // The watermark is 5 s behind the last event, 99.5 s: the window that ends at 80 s is closed.
    wait_until("four windows are closed", || rows(&log, &queries[1]).len() == 4);
    running.into_iter().for_each(|running| running.stop().unwrap());
    assert_eq!(rows(&log, &queries[1]), expected[..4]);
}

/// Two streams as one, of which one may be behind, and windows over that.
fn union_and_windows() -> Vec<Query> {
    pipeline(
        "CREATE STREAM u AS SELECT key, ts, value FROM events UNION ALL SELECT key, ts, value FROM others;
         CREATE STREAM v AS SELECT window_start, count(*) AS n FROM TUMBLE(u, ts, INTERVAL '10 seconds')
           GROUP BY window_start, window_end;",
    )
}

/// With the real operators.
fn real(options: RunOptions) -> RunOptions {
    RunOptions {
        new_operator: RunOptions::default().new_operator,
        ..options
    }
}

/// The records that a query has read of its streams.
fn records_in(running: &RunningQuery) -> u64 {
    let tasks = running.statistics().tasks.into_iter().filter(|task| task.stage == 0);
    tasks.map(|task| task.records_in).sum()
}

#[test]
fn a_derived_stream_tells_its_watermark_to_the_next_query() {
    let queries = union_and_windows();
    let log = TestLog::new();
    let start = |query: &Query| run(log.log.clone(), query.clone(), real(options())).unwrap();
    for topic in ["events", "others"] {
        log.create(topic, 2);
    }
    let append = |topic| {
        for partition in 0..2 {
            let events: Vec<String> = (0..50).map(|second| event(1, second, 1)).collect();
            log.append(topic, partition, &events, 7);
        }
    };
    let _first = start(&queries[0]);
    let second = start(&queries[1]);
    append("events");
    wait_until("what came first is read", || records_in(&second) == 100);
    // The other stream is behind, and holds the watermark up: of nothing that comes of it may be said that it is late. What was told
    // of that is known after a restart too.
    second.stop().unwrap();
    let second = start(&queries[1]);
    append("others");
    wait_until("four windows are closed", || rows(&log, &queries[1]).len() >= 4);
    second.stop().unwrap();
    let window = |second| format!(r#"{{"window_start":"1970-01-01T00:00:{second:02}","n":40}}"#);
    assert_eq!(rows(&log, &queries[1]), [0, 10, 20, 30].map(window));
    assert!(log.values("v.late").is_empty());
}

#[test]
fn nobody_guesses_the_watermark_of_a_derived_stream() {
    let queries = union_and_windows();
    let log = TestLog::new();
    // In the middle of an epoch, where records tell no watermark, a reader may begin.
    log.create("u", 2);
    let events: Vec<String> = (0..50).map(|second| event(1, second, 1)).collect();
    log.append("u", 0, &events, 7);
    log.append("u", 1, &events, 7);
    let running = run(log.log.clone(), queries[1].clone(), real(options())).unwrap();
    wait_until("all is read", || records_in(&running) == 100);
    std::thread::sleep(Duration::from_millis(50));
    running.stop().unwrap();
    assert!(rows(&log, &queries[1]).is_empty());
}

#[test]
fn a_run_to_the_end_tells_other_queries_the_watermark_before_its_end() {
    let queries = union_and_windows();
    let log = TestLog::new();
    for (topic, seconds) in [("events", 50), ("others", 20)] {
        log.create(topic, 2);
        for partition in 0..2 {
            let events: Vec<String> = (0..seconds).map(|second| event(1, second, 1)).collect();
            log.append(topic, partition, &events, 7);
        }
    }
    run(log.log.clone(), queries[0].clone(), real(to_the_end()))
        .unwrap()
        .wait()
        .unwrap();
    let running = run(log.log.clone(), queries[1].clone(), real(options())).unwrap();
    wait_until("all is read", || records_in(&running) == 140);
    wait_until("a window is closed", || !rows(&log, &queries[1]).is_empty());
    std::thread::sleep(Duration::from_millis(50));
    running.stop().unwrap();
    // More of the stream that is behind may come, five seconds before its 19th.
    assert_eq!(
        rows(&log, &queries[1]),
        [r#"{"window_start":"1970-01-01T00:00:00","n":40}"#]
    );
}

#[test]
fn a_row_of_a_partition_that_was_idle_is_not_late_with_one_before_it() {
    let mut query = pipeline(
        "CREATE STREAM v AS SELECT key, window_start, count(*) AS n FROM SESSION(events, ts, INTERVAL '100 seconds')
           GROUP BY key, window_start, window_end;",
    )
    .remove(0);
    query.stages[0].inputs[0].event_time.as_mut().unwrap().idle = Some(Duration::from_millis(20));
    let log = TestLog::new();
    log.create("events", 2);
    log.append("events", 1, &[event(9, 55, 1)], 1);
    log.append("events", 0, &[event(1, 0, 1), event(9, 205, 1)], 2);
    let running = run(log.log.clone(), query.clone(), real(options())).unwrap();
    wait_until("the second partition is idle", || rows(&log, &query).len() == 2);
    // The first of the two belongs to a session that is written, the second to none.
    log.append("events", 1, &[event(1, 90, 1), event(1, 180, 1)], 2);
    wait_until("a row is late", || !log.values("v.late").is_empty());
    for partition in 0..2 {
        log.append("events", partition, &[event(2, 400, 1)], 1);
    }
    wait_until("the session is closed", || rows(&log, &query).len() == 4);
    running.stop().unwrap();
    let session = |key, start: &str| format!(r#"{{"key":{key},"window_start":"1970-01-01T00:{start}","n":1}}"#);
    let expected = [
        session(1, "00:00"),
        session(1, "03:00"),
        session(9, "00:55"),
        session(9, "03:25"),
    ];
    assert_eq!(rows(&log, &query), expected);
    let late = log.values("v.late");
    assert!(late.len() == 1 && late[0].ends_with(":1}"), "{late:?}");
}
