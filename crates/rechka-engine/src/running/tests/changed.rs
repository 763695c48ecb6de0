//! Queries that are changed, and go on under the same name.
use rechka_sql::plan::Query;

use super::{
    sql::{pipeline, rows, stored},
    support::*,
};
use crate::{EngineError, Result, RunOptions, run};

fn run_to_the_end(log: &TestLog, query: &Query) -> Result<()> {
    let options = RunOptions {
        new_operator: RunOptions::default().new_operator,
        ..to_the_end()
    };
    run(log.log.clone(), query.clone(), options)?.wait()
}

/// Runs two texts one after another, with more rows between; gives the rows in the end.
fn edited(before: &str, after: &str) -> Result<Vec<String>> {
    let log = stored(100);
    run_to_the_end(&log, &pipeline(before).remove(0)).unwrap();
    log.append("events", 0, &[event(1, 1000, 7)], 1);
    let query = pipeline(after).remove(0);
    run_to_the_end(&log, &query).map(|()| rows(&log, &query))
}

const SUM: &str = "CREATE MATERIALIZED VIEW v AS SELECT key, sum(value) AS most FROM events GROUP BY key;";

#[test]
fn a_query_does_not_go_on_with_the_state_of_another() {
    let tumble = |size| {
        format!(
            "CREATE STREAM v AS SELECT key, window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '{size}')
             GROUP BY key, window_start, window_end;"
        )
    };
    let stateless = "CREATE STREAM v AS SELECT key, value FROM events;";
    let edits = [
        // Another function, other windows, other rows; a state where there was none.
        (SUM.to_owned(), SUM.replace("sum", "max")),
        (tumble("5 minutes"), tumble("1 minute")),
        (
            SUM.to_owned(),
            SUM.replace("FROM events", "FROM events WHERE value > 3"),
        ),
        (stateless.to_owned(), SUM.to_owned()),
    ];
    for (before, after) in edits {
        let refused = edited(&before, &after).err();
        let refused = refused.unwrap_or_else(|| panic!("{after} goes on from {before}"));
        assert!(matches!(refused, EngineError::Unfit { .. }), "{refused}");
        assert!(refused.to_string().contains("another name"), "{refused}");
    }
}

#[test]
fn a_query_goes_on_when_only_its_looks_have_changed() {
    assert_eq!(edited(SUM, &SUM.replace("FROM", "  from ")).unwrap().len(), 5);
}

#[test]
fn how_long_a_watermark_waits_may_be_changed() {
    let log = stored(100);
    let mut query = pipeline(SUM).remove(0);
    run_to_the_end(&log, &query).unwrap();
    query.stages[0].inputs[0].event_time.as_mut().unwrap().delay *= 2;
    run_to_the_end(&log, &query).unwrap();
}

#[test]
fn a_topic_that_was_made_anew_does_not_go_with_the_state_of_the_old_one() {
    let log = stored(100);
    let query = pipeline(SUM).remove(0);
    run_to_the_end(&log, &query).unwrap();
    log.log.delete_topic("events").unwrap();
    log.create("events", 2);
    log.append("events", 0, &[event(1, 1, 7)], 1);
    let refused = run_to_the_end(&log, &query).err().unwrap();
    assert!(matches!(refused, EngineError::Unfit { .. }), "{refused}");
}

const WINDOWS: &str =
    "CREATE STREAM v AS SELECT key, window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '10 seconds')
    GROUP BY key, window_start, window_end;";

#[test]
fn what_was_run_to_its_end_goes_on_where_no_windows_were_closed() {
    // Ten times, for a stage must not take the end that it was told of in the run before for that of this one.
    let log = stored(100);
    let query = pipeline(SUM).remove(0);
    for round in 0..10 {
        run_to_the_end(&log, &query).unwrap();
        let expected = format!(r#"{{"key":1,"most":{}}}"#, 1960 + 7 * round);
        assert_eq!(rows(&log, &query)[1], expected);
        log.append("events", 0, &[event(1, 1000, 7)], 1);
    }
}

#[test]
fn windows_that_the_end_has_closed_refuse_more_rows() {
    let log = stored(100);
    let query = pipeline(WINDOWS).remove(0);
    run_to_the_end(&log, &query).unwrap();
    let made = rows(&log, &query);
    run_to_the_end(&log, &query).unwrap();
    assert_eq!(rows(&log, &query), made);
    log.append("events", 0, &[event(1, 1000, 7)], 1);
    let refused = run_to_the_end(&log, &query).err().unwrap();
    assert!(matches!(refused, EngineError::Unfit { .. }), "{refused}");
    assert!(refused.to_string().contains("closed all its windows"), "{refused}");
    assert_eq!(rows(&log, &query), made);
    assert!(log.values("v.late").is_empty());
}
