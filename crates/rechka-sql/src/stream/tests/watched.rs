//! Queries whose rows are looked at.
use super::{super::plan_watched, *};

fn watched(text: &str) -> Result<Option<usize>, Error> {
    let plan = logical_plan(&catalog(1), &Query::parse(text)?)?;
    plan_watched(plan).map(|(_, limit)| limit)
}

#[test]
fn a_limit_says_how_many_rows_are_asked_for() {
    assert_eq!(watched("SELECT price FROM bid LIMIT 5").unwrap(), Some(5));
    assert_eq!(watched("SELECT price FROM bid").unwrap(), None);
}

#[test]
fn other_limits_are_refused() {
    for text in [
        "SELECT price FROM bid LIMIT 5 OFFSET 2",
        "SELECT max(price) FROM (SELECT price FROM bid LIMIT 5) AS b",
    ] {
        let error = watched(text).unwrap_err().to_string();
        assert!(error.contains("LIMIT"), "{error}");
    }
}
