//! Tasks die at every step of an epoch, and nobody sees it in the results.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rechka_log::Partition;
use rechka_sql::plan::Query;

use super::support::*;
use crate::{Delivery, EngineError, Failpoint, RunOptions, Step, run};

/// Runs a query to the end over small batches. The tasks die at these steps, counted over all; gives the results and the
/// number of steps.
fn results(query: &Query, partitions: Partition, delivery: Delivery, deaths: Vec<usize>) -> (Vec<String>, usize) {
    let log = TestLog::new();
    log.create("events", partitions);
    for partition in 0..partitions {
        let events = (0..120).map(|number| event(number % 5, number / 2, number + i64::from(partition)));
        log.append("events", partition, &events.collect::<Vec<_>>(), 1);
    }
    let (failpoint, steps) = die_at(deaths);
    let options = RunOptions {
        failpoint,
        ..small_epochs(delivery)
    };
    run(log.log.clone(), query.clone(), options).unwrap().wait().unwrap();
    (log.values(&query.result.topic), steps.load(SeqCst))
}

/// Epochs and snapshots as often as they can be.
pub fn small_epochs(delivery: Delivery) -> RunOptions {
    RunOptions {
        delivery,
        epoch: Duration::ZERO,
        attempts: None,
        snapshot_bytes: 1000,
        ..to_the_end()
    }
}

/// Tasks die at these steps, counted over all; with the count.
pub fn die_at(deaths: Vec<usize>) -> (Failpoint, Arc<AtomicUsize>) {
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = steps.clone();
    let failpoint = Failpoint::new(move |step| {
        let number = counter.fetch_add(1, SeqCst);
        match deaths.contains(&number) {
            true if number.is_multiple_of(2) => Err(EngineError::Query(format!("killed at {step:?}"))),
            true => std::panic::panic_any("killed"),
            false => Ok(()),
        }
    });
    (failpoint, steps)
}

fn counts(rows: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.as_str()).or_default() += 1;
    }
    counts
}

/// Every `stride`th step, and one or two more deaths after it.
fn die_everywhere(query: &Query, partitions: Partition, delivery: Delivery, check: impl Fn(&[String], &[String])) {
    let (expected, steps) = results(query, partitions, delivery, vec![]);
    assert!(!expected.is_empty());
    assert!(steps > 200, "{steps} steps are too few to be of interest");
    for step in (0..steps).step_by((steps / 25).max(1)) {
        let (found, _) = results(query, partitions, delivery, vec![step, step + 7, step + 20]);
        check(&found, &expected);
    }
}

fn same(found: &[String], expected: &[String]) {
    assert_eq!(found, expected);
}

fn nothing_lost(found: &[String], expected: &[String]) {
    let (found, expected) = (counts(found), counts(expected));
    assert!(found.keys().eq(expected.keys()), "{found:?}\n{expected:?}");
    assert!(expected.iter().all(|(row, count)| found[row] >= *count));
}

fn nothing_twice(found: &[String], expected: &[String]) {
    let (found, expected) = (counts(found), counts(expected));
    assert!(
        found
            .iter()
            .all(|(row, count)| expected.get(row).is_some_and(|most| count <= most)),
        "{found:?}\n{expected:?}"
    );
}

#[test]
fn exactly_once_a_filter_writes_every_row_once() {
    die_everywhere(&filter(2), 2, Delivery::ExactlyOnce, same);
}

#[test]
fn exactly_once_windows_are_what_they_are_without_crashes() {
    die_everywhere(&totals_in_place(2), 2, Delivery::ExactlyOnce, same);
}

#[test]
fn exactly_once_holds_through_an_exchange() {
    die_everywhere(&totals_exchanged(2, 3), 2, Delivery::ExactlyOnce, same);
}

#[test]
fn at_least_once_nothing_is_lost() {
    die_everywhere(&filter(2), 2, Delivery::AtLeastOnce, nothing_lost);
    die_everywhere(&totals_in_place(1), 1, Delivery::AtLeastOnce, nothing_lost);
}

#[test]
fn at_most_once_nothing_comes_twice() {
    die_everywhere(&filter(2), 2, Delivery::AtMostOnce, nothing_twice);
    die_everywhere(&totals_in_place(1), 1, Delivery::AtMostOnce, nothing_twice);
}

/// Runs totals behind an exchange to the end, over tasks that die each third time when one half of an epoch is written.
fn half_committed(delivery: Delivery) -> Vec<String> {
    let log = TestLog::new();
    log.create("events", 2);
    for partition in 0..2 {
        let events = (0..60).map(|number| event(number % 5, number / 2, number + i64::from(partition)));
        log.append("events", partition, &events.collect::<Vec<_>>(), 1);
    }
    let halves = AtomicUsize::new(0);
    let failpoint = Failpoint::new(move |step| match step {
        Step::HalfCommitted if halves.fetch_add(1, SeqCst) % 3 == 2 => Err(EngineError::Query("killed".into())),
        _ => Ok(()),
    });
    let options = RunOptions {
        failpoint,
        ..small_epochs(delivery)
    };
    let query = totals_exchanged(2, 3);
    run(log.log.clone(), query.clone(), options).unwrap().wait().unwrap();
    log.values(&query.result.topic)
}

#[test]
fn at_least_once_and_at_most_once_are_about_the_result_not_about_what_goes_from_stage_to_stage() {
    let expected = half_committed(Delivery::ExactlyOnce);
    nothing_lost(&half_committed(Delivery::AtLeastOnce), &expected);
    nothing_twice(&half_committed(Delivery::AtMostOnce), &expected);
}
