//! What the log has no room for.
use super::{
    sql::{pipeline, rows},
    support::*,
};
use crate::{EngineError, Failpoint, RunOptions, Step, run};

#[test]
fn a_row_that_no_record_has_room_for_is_a_dead_letter() {
    let queries = [
        (
            "CREATE STREAM wide AS SELECT key, repeat('x', value) AS text FROM events;",
            1,
        ),
        // Here it is a partial aggregate that does not get through the exchange.
        (
            "CREATE MATERIALIZED VIEW wide AS SELECT key, max(repeat('x', value)) AS text FROM events GROUP BY key;",
            1,
        ),
    ];
    for (sql, dead) in queries {
        let log = TestLog::new();
        log.create("events", 2);
        log.append(
            "events",
            0,
            &[event(1, 1, 3), event(2, 2, 17_000_000), event(3, 3, 1)],
            3,
        );
        let query = pipeline(sql).remove(0);
        let options = RunOptions {
            new_operator: RunOptions::default().new_operator,
            ..options()
        };
        let running = run(log.log.clone(), query.clone(), options).unwrap();
        wait_until("it is counted", || {
            running.statistics().tasks.iter().map(|task| task.dead).sum::<u64>() == dead
        });
        wait_until("the others are written", || rows(&log, &query).len() == 2);
        running.stop().unwrap();
        assert_eq!(
            rows(&log, &query),
            [r#"{"key":1,"text":"xxx"}"#, r#"{"key":3,"text":"x"}"#]
        );
        let letters = log.values("wide.dead");
        assert_eq!(letters.len(), 1);
        assert!(letters[0].contains("xxxxxxx"));
    }
}

#[test]
fn what_the_log_was_asked_wrongly_counts_as_an_attempt() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 1)], 1);
    let options = RunOptions {
        failpoint: Failpoint::new(|step| match step {
            Step::Commit => Err(EngineError::Log(rechka_log::LogError::Invalid("too much".into()))),
            _ => Ok(()),
        }),
        ..to_the_end()
    };
    let running = run(log.log.clone(), filter(1), options).unwrap();
    wait_until("it gives up", || !running.is_running());
    assert_eq!(running.stop().err().unwrap().to_string(), "too much");
}
