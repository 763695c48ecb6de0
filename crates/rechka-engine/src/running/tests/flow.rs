//! What comes out when nothing goes wrong.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use rechka_log::TopicPartition;
use rechka_sql::{Kind, Metadata, Relation, plan::Source};

use super::support::*;
use crate::{EngineError, RunOptions, run};

/// Events of three keys, a second apart, with some disorder.
fn some_events(partition: i64, count: i64) -> Vec<String> {
    let at = |number: i64| number + [0, 2, -1, 3][number as usize % 4];
    (0..count)
        .map(|number| event(number % 3, at(number), number + partition))
        .collect()
}

/// The totals of such events.
fn expected_totals(partitions: i64, count: i64) -> Vec<String> {
    let mut sums = BTreeMap::<(i64, i64), i64>::new();
    for partition in 0..partitions {
        for text in some_events(partition, count) {
            let event: serde_json::Value = serde_json::from_str(&text).unwrap();
            let number = |name: &str| event[name].as_i64().unwrap();
            let end = (number("ts").div_euclid(10_000) + 1) * 10;
            *sums.entry((end, number("key"))).or_default() += number("value");
        }
    }
    let mut rows: Vec<String> = sums
        .into_iter()
        .map(|((end, key), sum)| result(key, end, sum))
        .collect();
    rows.sort();
    rows
}

fn result(key: i64, seconds: i64, value: i64) -> String {
    let minutes = seconds / 60;
    format!(
        r#"{{"key":{key},"ts":"1970-01-01T00:{minutes:02}:{:02}","value":{value}}}"#,
        seconds % 60
    )
}

#[test]
fn a_filter_writes_the_rows_it_keeps_in_order() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 5), event(2, 2, -1), event(3, 3, 9)], 2);
    run(log.log.clone(), filter(1), to_the_end()).unwrap().wait().unwrap();
    let values: Vec<String> = log.records("filtered").into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, [result(1, 1, 5), result(3, 3, 9)]);
}

#[test]
fn a_live_query_goes_on_where_it_was_stopped() {
    let log = TestLog::new();
    log.create("events", 2);
    let mut expected = Vec::new();
    for round in 0..3 {
        let running = run(log.log.clone(), filter(2), options()).unwrap();
        for partition in 0..2 {
            let (seconds, value) = (round * 10, round + i64::from(partition));
            log.append("events", partition, &[event(1, seconds, value)], 1);
            expected.push(result(1, seconds, value));
        }
        expected.sort();
        wait_until("the rows are there", || log.values("filtered").len() == expected.len());
        running.stop().unwrap();
        assert_eq!(log.values("filtered"), expected);
    }
}

#[test]
fn windows_are_put_out_as_time_passes_and_at_the_end() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &some_events(0, 100), 7);
    run(log.log.clone(), totals_in_place(1), to_the_end())
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(log.values("totals"), expected_totals(1, 100));
}

#[test]
fn rows_of_a_key_meet_behind_an_exchange() {
    let log = TestLog::new();
    log.create("events", 3);
    for partition in 0..3 {
        log.append("events", partition, &some_events(i64::from(partition), 200), 7);
    }
    run(log.log.clone(), totals_exchanged(3, 2), to_the_end())
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(log.values("totals"), expected_totals(3, 200));
}

#[test]
fn a_live_query_closes_windows_behind_an_exchange_and_lets_an_open_one_wait() {
    let log = TestLog::new();
    log.create("events", 2);
    let running = run(log.log.clone(), totals_exchanged(2, 2), options()).unwrap();
    log.append("events", 0, &[event(1, 1, 10), event(1, 16, 1)], 2);
    log.append("events", 1, &[event(1, 2, 20), event(1, 14, 2)], 2);
    // The second partition holds the window up: 14 s less 5 s is before its end.
    wait_until("all is read", || {
        running
            .statistics()
            .tasks
            .iter()
            .map(|task| task.records_in)
            .sum::<u64>()
            >= 4
    });
    assert_eq!(log.values("totals"), Vec::<String>::new());
    log.append("events", 1, &[event(1, 15, 2)], 1);
    wait_until("a window is closed", || !log.values("totals").is_empty());
    assert_eq!(log.values("totals"), [result(1, 10, 30)]);
    let before = running.statistics();
    assert_eq!(before.error, None);
    running.stop().unwrap();
    assert_eq!(log.values("totals"), [result(1, 10, 30)]);
    // What was open is so still.
    let running = run(log.log.clone(), totals_exchanged(2, 2), options()).unwrap();
    for partition in 0..2 {
        log.append("events", partition, &[event(2, 30, 1)], 1);
    }
    wait_until("the next is closed", || log.values("totals").len() == 2);
    running.stop().unwrap();
    assert_eq!(log.values("totals"), [result(1, 10, 30), result(1, 20, 5)]);
}

#[test]
fn a_partition_without_records_holds_windows_up_unless_it_may_be_idle() {
    for idle in [None, Some(Duration::from_millis(20))] {
        let log = TestLog::new();
        log.create("events", 2);
        log.append("events", 0, &[event(1, 1, 10), event(1, 16, 1)], 2);
        let mut query = totals_exchanged(2, 1);
        query.stages[0].inputs[0].event_time.as_mut().unwrap().idle = idle;
        let running = run(log.log.clone(), query, options()).unwrap();
        match idle {
            Some(_) => wait_until("the window is closed", || log.values("totals") == [result(1, 10, 10)]),
            None => {
                let read = |stage| {
                    running
                        .statistics()
                        .tasks
                        .iter()
                        .any(|task| task.stage == stage && task.records_in > 0)
                };
                wait_until("all is read", || read(0) && read(1));
                std::thread::sleep(Duration::from_millis(50));
                assert_eq!(log.values("totals"), Vec::<String>::new());
            }
        }
        running.stop().unwrap();
    }
}

/// Totals behind an exchange, over a first partition that has closed a window, and a second one that was idle meanwhile.
fn half_idle(log: &TestLog) {
    log.append("events", 0, &[event(1, 1, 10), event(1, 16, 1)], 2);
    wait_until("the window is closed", || log.values("totals") == [result(1, 10, 10)]);
}

#[test]
fn a_partition_that_was_idle_is_waited_for_again_when_a_query_starts_again() {
    let log = TestLog::new();
    log.create("events", 2);
    let query = |idle| {
        let mut query = totals_exchanged(2, 1);
        query.stages[0].inputs[0].event_time.as_mut().unwrap().idle = Some(idle);
        query
    };
    let running = run(log.log.clone(), query(Duration::from_millis(20)), options()).unwrap();
    half_idle(&log);
    running.stop().unwrap();
    // Both have got more meanwhile, and that of the first is read before.
    log.append("events", 0, &[event(1, 40, 1)], 1);
    let running = run(log.log.clone(), query(Duration::from_secs(3600)), options()).unwrap();
    let has_read = |stage| {
        let tasks = running.statistics().tasks.into_iter();
        tasks
            .filter(|task| task.stage == stage)
            .map(|task| task.records_in)
            .sum::<u64>()
            > 0
    };
    wait_until("it is read", || has_read(0) && has_read(1));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(log.values("totals"), [result(1, 10, 10)]);
    log.append("events", 1, &[event(1, 15, 5), event(1, 40, 1)], 2);
    wait_until("the next is closed", || log.values("totals").len() == 2);
    running.stop().unwrap();
    assert_eq!(log.values("totals"), [result(1, 10, 10), result(1, 20, 6)]);
    assert!(log.values("totals.late").is_empty());
}

#[test]
fn a_task_that_starts_again_is_told_which_partitions_are_idle() {
    let log = TestLog::new();
    log.create("events", 2);
    let mut query = totals_exchanged(2, 1);
    query.stages[0].inputs[0].event_time.as_mut().unwrap().idle = Some(Duration::from_millis(20));
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = armed.clone();
    let options = RunOptions {
        // While no events come, only the last task is pushed something: that the others are idle.
        failpoint: crate::Failpoint::new(move |step| match step {
            crate::Step::Push if trigger.swap(false, SeqCst) => Err(EngineError::Query("killed".into())),
            _ => Ok(()),
        }),
        ..options()
    };
    let running = run(log.log.clone(), query, options).unwrap();
    half_idle(&log);
    armed.store(true, SeqCst);
    wait_until("the last task has died", || !armed.load(SeqCst));
    log.append("events", 0, &[event(1, 40, 1)], 1);
    wait_until("the next is closed", || log.values("totals").len() == 2);
    running.stop().unwrap();
}

#[test]
fn records_that_are_damaged_in_the_log_are_left_out_and_reported() {
    let log = TestLog::new();
    log.create("events", 1);
    let events: Vec<String> = [5, 777, 9].iter().map(|&value| event(1, value, value)).collect();
    log.append("events", 0, &events, 1);
    let log = log.damage("\"ts\":777000");
    let running = run(log.log.clone(), filter(1), to_the_end()).unwrap();
    running.wait().unwrap();
    let values: Vec<String> = log.records("filtered").into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, [result(1, 5, 5), result(1, 9, 9)]);
    assert_eq!(log.records("events.dead"), [(0, None, String::new())]);
}

#[test]
fn records_that_can_not_be_used_go_to_the_dead_letters_with_the_reason() {
    let log = TestLog::new();
    log.create("events", 1);
    let bad = [
        "no json".to_owned(),
        r#"{"key":1,"value":2}"#.to_owned(),
        event(1, 5_000_000_000, 3),
        r#"{"key":"x","ts":1,"value":2}"#.to_owned(),
    ];
    let mut values = vec![event(1, 1, 1)];
    values.extend_from_slice(&bad);
    values.push(event(2, 2, 2));
    log.append("events", 0, &values, 10);
    let running = run(log.log.clone(), filter(1), options()).unwrap();
    wait_until("all is read", || {
        running.statistics().tasks.iter().any(|task| task.records_in == 6)
    });
    assert_eq!(running.statistics().tasks[0].dead, 4);
    assert_eq!(running.statistics().lag(), 0);
    running.stop().unwrap();
    assert_eq!(log.values("filtered"), [result(1, 1, 1), result(2, 2, 2)]);
    let dead: Vec<String> = log
        .records("events.dead")
        .into_iter()
        .map(|(_, _, value)| value)
        .collect();
    assert_eq!(dead, bad);
    let mut reader = log.log.read(vec![(TopicPartition::new("events.dead", 0), 0)]).unwrap();
    let mut reasons = Vec::new();
    while let Some(fetched) = reader.poll(Duration::ZERO).unwrap() {
        for record in fetched.batch.iter() {
            let text = |name| String::from_utf8_lossy(record.header(name).unwrap()).into_owned();
            assert_eq!(text("dead.query"), "filter");
            reasons.push((text("dead.offset"), text("dead.topic"), text("dead.reason")));
        }
    }
    let offsets: Vec<&str> = reasons.iter().map(|(offset, _, _)| offset.as_str()).collect();
    assert_eq!(offsets, ["1", "2", "3", "4"]);
    assert!(reasons.iter().all(|(_, topic, _)| topic == "events"));
    assert!(reasons[1].2.contains("missing"), "{reasons:?}");
    assert!(reasons[2].2.contains("in the future"), "{reasons:?}");
}

#[test]
fn columns_can_come_from_the_record_around_the_value() {
    let log = TestLog::new();
    log.create("events", 2);
    log.append("events", 1, &["no json".into(), event(1, 1, 10), event(2, 2, 20)], 3);
    let mut query = filter(2);
    let stream = Relation {
        metadata: vec![(1, Metadata::Timestamp), (2, Metadata::Offset)],
        event_time: None,
        ..relation("events", columns(), 2)
    };
    query.stages[0].inputs[0].source = Source::Stream(stream.into());
    query.stages[0].inputs[0].event_time = None;
    run(log.log.clone(), query, to_the_end()).unwrap().wait().unwrap();
    let row = |key, offset| format!(r#"{{"key":{key},"ts":"1970-01-01T00:00:00.007","value":{offset}}}"#);
    assert_eq!(log.values("filtered"), [row(1, 1), row(2, 2)]);
}

#[test]
fn late_rows_go_to_the_late_stream() {
    let log = TestLog::new();
    log.create("events", 1);
    let running = run(log.log.clone(), totals_in_place(1), options()).unwrap();
    log.append("events", 0, &[event(1, 1, 10), event(1, 16, 1)], 2);
    wait_until("the window is closed", || !log.values("totals").is_empty());
    log.append("events", 0, &[event(1, 3, 7)], 1);
    wait_until("the late row is there", || !log.values("totals.late").is_empty());
    assert_eq!(log.values("totals.late"), [result(1, 3, 7)]);
    wait_until("it is counted", || running.statistics().tasks[0].late == 1);
    running.stop().unwrap();
    assert_eq!(log.values("totals"), [result(1, 10, 10)]);
}

#[test]
fn the_records_of_a_view_have_keys_and_lie_where_the_key_belongs() {
    let log = TestLog::new();
    log.create("events", 2);
    log.append("events", 0, &[event(1, 1, 5)], 1);
    log.append("events", 1, &[event(2, 2, 6)], 1);
    let mut query = filter(2);
    query.result.kind = Kind::View;
    query.result.key = vec![0, 2];
    run(log.log.clone(), query.clone(), to_the_end())
        .unwrap()
        .wait()
        .unwrap();
    let record = |partition, key: i64, value| {
        let name = format!(r#"{{"key":{key},"value":{value}}}"#);
        (partition, Some(name), result(key, key, value))
    };
    assert_eq!(log.records("filtered"), [record(0, 1, 5), record(1, 2, 6)]);
}

#[test]
fn topics_that_do_not_fit_are_refused() {
    let log = TestLog::new();
    log.create("events", 2);
    let refused = run(log.log.clone(), filter(1), options()).err().unwrap();
    assert!(matches!(refused, EngineError::Log(_)), "{refused}");
    assert!(refused.to_string().contains("2 partitions"), "{refused}");
    let mut mixed = filter(1);
    let mut other = events(3);
    if let Source::Stream(stream) = &mut other.source {
        std::sync::Arc::make_mut(stream).topic = "others".into();
    }
    mixed.stages[0].inputs.push(other);
    let refused = run(log.log.clone(), mixed, options()).err().unwrap();
    assert!(refused.to_string().contains("same number"), "{refused}");
    let mut narrow = filter(2);
    narrow.result.partitions = 1;
    let refused = run(log.log.clone(), narrow, options()).err().unwrap();
    assert!(refused.to_string().contains("another number of tasks"), "{refused}");
}

#[test]
fn a_query_that_can_not_go_on_gives_up_at_the_end_of_its_attempts() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 1)], 1);
    let options = RunOptions {
        failpoint: crate::Failpoint::new(|step| match step {
            crate::Step::Commit => Err(EngineError::Query("the divisor is zero".into())),
            _ => Ok(()),
        }),
        ..to_the_end()
    };
    let error = run(log.log.clone(), filter(1), options).unwrap().wait().err().unwrap();
    assert_eq!(error.to_string(), "the divisor is zero");
}
