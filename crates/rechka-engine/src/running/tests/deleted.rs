//! Records that are deleted before they are read.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rechka_log::TopicPartition;

use super::support::*;
use crate::{EngineError, Failpoint, RunOptions, Step, run};

fn values(log: &TestLog) -> Vec<i64> {
    let value =
        |(_, _, value): (_, _, String)| serde_json::from_str::<serde_json::Value>(&value).unwrap()["value"].as_i64();
    log.records("filtered")
        .into_iter()
        .map(|record| value(record).unwrap())
        .collect()
}

/// The dead letters: the first offset and the number of records.
fn gaps(log: &TestLog) -> Vec<(String, String)> {
    let mut reader = log.log.read(vec![(TopicPartition::new("events.dead", 0), 0)]).unwrap();
    let mut gaps = Vec::new();
    while let Some(fetched) = reader.poll(Duration::ZERO).unwrap() {
        for record in fetched.batch.iter() {
            let text = |name| String::from_utf8_lossy(record.header(name).unwrap()).into_owned();
            assert!(text("dead.reason").contains("retention"));
            gaps.push((text("dead.offset"), text("dead.records")));
        }
    }
    gaps
}

#[test]
fn what_was_deleted_while_a_query_stood_still_is_a_dead_letter() {
    let log = TestLog::new();
    log.create("events", 1);
    let events: Vec<String> = (0..6).map(|number| event(1, number, number)).collect();
    log.append("events", 0, &events[..2], 1);
    run(log.log.clone(), filter(1), to_the_end()).unwrap().wait().unwrap();
    log.append("events", 0, &events[2..], 1);
    log.log.delete_before(&TopicPartition::new("events", 0), 4).unwrap();
    let running = run(log.log.clone(), filter(1), options()).unwrap();
    wait_until("the rest is read", || values(&log).len() == 4);
    wait_until("it is counted", || {
        running.statistics().tasks.iter().any(|task| task.dead == 2)
    });
    running.stop().unwrap();
    assert_eq!(values(&log), [0, 1, 4, 5]);
    assert_eq!(gaps(&log), [("2".to_owned(), "2".to_owned())]);
}

#[test]
fn what_was_deleted_while_a_query_was_too_slow_is_a_dead_letter() {
    let log = TestLog::new();
    log.create("events", 1);
    let events: Vec<String> = (0..6).map(|number| event(1, number, number)).collect();
    log.append("events", 0, &events, 1);
    let (reached, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (reach, hold) = (reached.clone(), held.clone());
    let options = RunOptions {
        failpoint: Failpoint::new(move |step| {
            while step == Step::Push && hold.load(SeqCst) {
                reach.store(true, SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }),
        ..to_the_end()
    };
    let running = run(log.log.clone(), filter(1), options).unwrap();
    wait_until("the first record is read", || reached.load(SeqCst));
    log.log.delete_before(&TopicPartition::new("events", 0), 4).unwrap();
    held.store(false, SeqCst);
    running.wait().unwrap();
    assert_eq!(values(&log), [0, 4, 5]);
    assert_eq!(gaps(&log), [("1".to_owned(), "3".to_owned())]);
}

#[test]
fn a_query_can_not_do_without_what_was_deleted_of_its_exchange() {
    let log = TestLog::new();
    log.create("events", 1);
    let query = totals_exchanged(1, 1);
    log.append("events", 0, &[event(1, 1, 10)], 1);
    run(log.log.clone(), query.clone(), to_the_end())
        .unwrap()
        .wait()
        .unwrap();
    let exchange = TopicPartition::new("totals.0", 0);
    let end = log.log.offsets(&exchange).unwrap().end;
    log.append("totals.0", 0, &["a".into(), "b".into()], 1);
    log.log.delete_before(&exchange, end + 1).unwrap();
    let refused = run(log.log.clone(), query, to_the_end()).unwrap().wait().err().unwrap();
    assert!(matches!(refused, EngineError::Unfit { .. }), "{refused}");
    assert!(refused.to_string().contains("retention"), "{refused}");
}

#[test]
fn a_query_waits_for_its_topic_and_refuses_another_in_its_place() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 10)], 1);
    let running = run(log.log.clone(), totals_in_place(1), options()).unwrap();
    wait_until("the event is read", || {
        running.statistics().tasks.iter().any(|task| task.records_in == 1)
    });
    log.log.delete_topic("events").unwrap();
    let error = || running.statistics().error.unwrap_or_default();
    wait_until("the topic is missed", || {
        error().contains("there is no topic \"events\"")
    });
    assert!(running.is_running());
    log.create("events", 1);
    wait_until("the query has ended", || !running.is_running());
    let refused = running.wait().err().unwrap();
    assert!(matches!(refused, EngineError::Unfit { .. }), "{refused}");
}

#[test]
fn a_query_whose_results_are_gone_does_not_go_on() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 10)], 1);
    run(log.log.clone(), filter(1), to_the_end()).unwrap().wait().unwrap();
    log.log.delete_topic("filtered").unwrap();
    let refused = run(log.log.clone(), filter(1), to_the_end()).err().unwrap();
    assert!(matches!(refused, EngineError::Unfit { .. }), "{refused}");
    log.create("filtered", 1);
    run(log.log.clone(), filter(1), to_the_end()).unwrap().wait().unwrap();
}

#[test]
fn results_over_old_events_are_as_young_as_they_are() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 10)], 1);
    let options = RunOptions {
        clock: Arc::new(|| 5_000_000_000),
        ..to_the_end()
    };
    let mut query = filter(1);
    query.result.event_time = Some(event_time());
    run(log.log.clone(), query, options).unwrap().wait().unwrap();
    let mut reader = log.log.read(vec![(TopicPartition::new("filtered", 0), 0)]).unwrap();
    let fetched = reader.poll(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(fetched.batch.get(0).unwrap().timestamp, 5_000_000);
}
