//! The time bounds that the conditions of a join give.
use super::*;
use crate::plan::{Operation, TimeBound};

const SECONDS: i64 = 1_000_000;

/// Lower and upper bound of `bid b JOIN auction a` under a condition, and whether the condition is still to be asked.
fn bound(condition: &str) -> (i64, i64, bool) {
    let query = planned(&format!(
        "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id AND {condition}"
    ));
    let join = query.stages[0].nodes.iter().find_map(|node| match &node.operation {
        Operation::Join(join) => Some(join),
        _ => None,
    });
    let join = join.unwrap_or_else(|| panic!("{}", explain(&query)));
    let TimeBound { lower, upper, .. } = join.bound;
    (lower, upper, join.filter.is_some())
}

#[test]
fn between_is_a_bound_of_its_own() {
    assert_eq!(
        bound("b.dateTime BETWEEN a.dateTime - INTERVAL '10' SECOND AND a.dateTime"),
        (0, 10 * SECONDS, false)
    );
    assert_eq!(
        bound("a.dateTime BETWEEN b.dateTime AND b.dateTime + INTERVAL '1' MINUTE"),
        (0, 60 * SECONDS, false)
    );
}

#[test]
fn comparisons_on_either_side_are_a_bound() {
    assert_eq!(
        bound("b.dateTime >= a.dateTime AND b.dateTime - INTERVAL '5 seconds' <= a.dateTime"),
        (-5 * SECONDS, 0, false)
    );
    assert_eq!(
        bound("a.dateTime + INTERVAL '2 seconds' >= b.dateTime AND a.dateTime <= b.dateTime + INTERVAL '3 seconds'"),
        (-2 * SECONDS, 3 * SECONDS, false)
    );
}

#[test]
fn strict_comparisons_are_asked_again() {
    assert_eq!(
        bound("b.dateTime > a.dateTime AND b.dateTime < a.dateTime + INTERVAL '5 seconds'"),
        (-5 * SECONDS, 0, true)
    );
}

#[test]
fn equal_times_are_a_bound() {
    assert_eq!(bound("b.dateTime = a.dateTime"), (0, 0, false));
    assert_eq!(
        bound("b.dateTime = a.dateTime + INTERVAL '1 day'"),
        (-86_400 * SECONDS, -86_400 * SECONDS, false)
    );
}

#[test]
fn a_bound_in_where_counts_as_well() {
    let query = planned(
        "SELECT b.price FROM bid b, auction a WHERE b.auction = a.id AND b.price > a.reserve \
         AND b.dateTime >= a.dateTime AND b.dateTime <= a.dateTime + INTERVAL '1 minute'",
    );
    assert!(explain(&query).contains("where"), "{}", explain(&query));
}

#[test]
fn the_narrower_of_two_bounds_counts() {
    assert_eq!(
        bound(
            "b.dateTime BETWEEN a.dateTime AND a.dateTime + INTERVAL '9 seconds' AND b.dateTime <= a.dateTime + INTERVAL '4 seconds'"
        ),
        (-4 * SECONDS, 0, false)
    );
}

#[test]
fn retention_closes_what_the_condition_leaves_open() {
    let options = Options {
        state_retention: Some(Duration::from_secs(60)),
        ..Options::default()
    };
    let sql = "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id AND b.dateTime >= a.dateTime";
    let query = plan_in(&catalog(1), sql, &options).unwrap();
    assert!(explain(&query).contains("from -60s to 0s"), "{}", explain(&query));
}
