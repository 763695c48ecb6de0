//! The queries as published (Flink's texts), over streams of one and of several partitions.
use super::*;
use crate::plan::{Groups, Operation, Window};

const Q0: &str = include_str!("../../../../../bench/nexmark/q0.sql");
const Q1: &str = include_str!("../../../../../bench/nexmark/q1.sql");
const Q2: &str = include_str!("../../../../../bench/nexmark/q2.sql");
const Q3: &str = include_str!("../../../../../bench/nexmark/q3.sql");
pub(super) const Q5: &str = include_str!("../../../../../bench/nexmark/q5.sql");
const Q7: &str = include_str!("../../../../../bench/nexmark/q7.sql");
const Q8: &str = include_str!("../../../../../bench/nexmark/q8.sql");
const Q11: &str = include_str!("../../../../../bench/nexmark/q11.sql");
const Q12: &str = include_str!("../../../../../bench/nexmark/q12.sql");

fn operations(query: &plan::Query) -> Vec<&Operation> {
    query
        .stages
        .iter()
        .flat_map(|stage| &stage.nodes)
        .map(|node| &node.operation)
        .collect()
}

#[test]
fn stateless_queries_are_one_map_over_the_columns_they_read() {
    for (sql, columns) in [(Q0, 5), (Q1, 5), (Q2, 3)] {
        let query = planned(sql);
        assert!(
            matches!(operations(&query)[..], [Operation::Map { .. }]),
            "{}",
            explain(&query)
        );
        assert_eq!(query.stages[0].inputs[0].schema.fields().len(), columns);
        assert_eq!(
            query.stages[0].inputs[0].event_time.as_ref().unwrap().column,
            columns - if sql == Q2 { 1 } else { 2 }
        );
    }
}

#[test]
fn a_join_without_time_keeps_rows_as_long_as_it_is_told() {
    let refusal = refused(Q3, &Options::default());
    assert!(refusal.contains("state_retention"), "{refusal}");
    let options = Options {
        state_retention: Some(Duration::from_secs(86_400)),
        ..Options::default()
    };
    let query = plan_in(&catalog(1), Q3, &options).unwrap();
    let bounds: Vec<_> = operations(&query)
        .iter()
        .filter_map(|operation| {
            if let Operation::Join(join) = operation {
                Some(join.bound)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        bounds
            .iter()
            .map(|bound| (bound.lower, bound.upper))
            .collect::<Vec<_>>(),
        [(-86_400_000_000, 86_400_000_000)]
    );
}

#[test]
fn hot_items_count_the_bids_once() {
    let query = planned(Q5);
    let counts = operations(&query)
        .iter()
        .filter(|operation| {
            matches!(operation, Operation::Aggregate(aggregate) if matches!(aggregate.groups, Groups::Windows { .. }))
        })
        .count();
    assert_eq!((query.stages[0].inputs.len(), counts), (1, 1), "{}", explain(&query));
}

#[test]
fn the_highest_bid_reads_the_bids_once_and_waits_for_the_end_of_the_window() {
    let query = planned(Q7);
    assert_eq!(query.stages[0].inputs.len(), 1, "{}", explain(&query));
    let Some(Operation::Join(join)) = operations(&query)
        .into_iter()
        .find(|operation| matches!(operation, Operation::Join(_)))
    else {
        panic!("no join: {}", explain(&query));
    };
    assert_eq!((join.bound.lower, join.bound.upper), (0, 10_000_000));
    assert_eq!(join.filter, None);
}

#[test]
fn new_sellers_are_a_join_of_equal_windows() {
    let query = planned(Q8);
    let Some(Operation::Join(join)) = operations(&query)
        .into_iter()
        .find(|operation| matches!(operation, Operation::Join(_)))
    else {
        panic!("no join: {}", explain(&query));
    };
    assert_eq!((join.bound.lower, join.bound.upper, join.on.len()), (0, 0, 3));
}

#[test]
fn sessions_and_processing_time_are_left_to_the_aggregate() {
    for (sql, time, window) in [
        (Q11, true, Window::Session { gap: 10_000_000 }),
        (
            Q12,
            false,
            Window::Hop {
                size: 10_000_000,
                slide: 10_000_000,
                offset: 0,
            },
        ),
    ] {
        let query = planned(sql);
        let Some(Operation::Aggregate(aggregate)) = operations(&query)
            .into_iter()
            .find(|operation| matches!(operation, Operation::Aggregate(_)))
        else {
            panic!("no aggregate: {}", explain(&query));
        };
        let Groups::Windows {
            time: column,
            window: own,
        } = aggregate.groups
        else {
            panic!("{:?}", aggregate.groups)
        };
        assert_eq!((column.is_some(), own), (time, window));
        assert_eq!(query.result.event_time.is_some(), time);
    }
}

#[test]
fn every_query_runs_on_several_partitions() {
    for sql in [Q0, Q1, Q2, Q3, Q5, Q7, Q8, Q11, Q12] {
        let options = Options {
            state_retention: (sql == Q3).then_some(Duration::from_secs(60)),
            ..Options::default()
        };
        let query = plan_in(&catalog(4), sql, &options).unwrap();
        let state = operations(&query)
            .iter()
            .any(|operation| matches!(operation, Operation::Aggregate(_) | Operation::Join(_)));
        assert_eq!(query.stages.len() > 1, state, "{}", explain(&query));
    }
}
