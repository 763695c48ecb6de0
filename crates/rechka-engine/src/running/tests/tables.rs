//! Streams beside tables.
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{logical_expr::JoinType, physical_expr::expressions::Column};
use rechka_log::{Append, BatchBuilder, TopicPartition};
use rechka_sql::{
    catalog::{Kind, Relation},
    plan::{Input, Lookup, Node, Operation, Origin, Output, Query, Source, Stage},
};

use super::{sql::pipeline, support::*};
use crate::{RunOptions, run};

/// `SELECT * FROM events JOIN names ON events.key = names.id`
fn enriched() -> Query {
    let names = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]));
    let table = Relation {
        kind: Kind::Table,
        key: vec![0],
        ..relation("names", names.clone(), 2)
    };
    let fields = columns()
        .fields()
        .iter()
        .chain(names.fields())
        .cloned()
        .collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let lookup = Lookup {
        kind: JoinType::Left,
        on: vec![(Arc::new(Column::new("key", 0)), Arc::new(Column::new("id", 0)))],
        filter: None,
        as_of: None,
    };
    Query {
        name: "enriched".into(),
        result: relation("named", schema.clone(), 1),
        stages: vec![Stage {
            inputs: vec![
                events(1),
                Input {
                    source: Source::Table(Arc::new(table)),
                    schema: names,
                    event_time: None,
                },
            ],
            nodes: vec![Node {
                operation: Operation::Lookup(lookup),
                from: vec![Origin::Input(0), Origin::Input(1)],
                schema,
            }],
            output: Output::Result,
        }],
    }
}

fn name(log: &TestLog, partition: u32, key: &str, value: &str) {
    let mut batch = BatchBuilder::new();
    batch.push(Some(key.as_bytes()), value.as_bytes(), 0, &[]).unwrap();
    let to = TopicPartition::new("names", partition);
    let batch = batch.finish();
    log.log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
}

/// The names that events were given.
fn names(log: &TestLog) -> Vec<String> {
    let name = |value: String| {
        let row: serde_json::Value = serde_json::from_str(&value).unwrap();
        format!("{}: {}", row["value"], row["name"])
    };
    log.records("named")
        .into_iter()
        .map(|(_, _, value)| name(value))
        .collect()
}

#[test]
fn a_table_may_be_a_file() {
    let log = TestLog::new();
    log.create("events", 1);
    log.append("events", 0, &[event(1, 1, 10), event(2, 1, 20)], 2);
    let directory = tempfile::tempdir().unwrap();
    let files = [
        ("names.csv", "name,more,id\none,x,1\n"),
        ("names.json", "{\"id\":1,\"name\":\"one\"}\n"),
    ];
    for (round, (name, text)) in files.into_iter().enumerate() {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut query = enriched();
        query.name = format!("enriched{round}").into();
        if let Source::Table(table) = &mut query.stages[0].inputs[1].source {
            Arc::make_mut(table).file = Some(path.into());
        }
        run(log.log.clone(), query, to_the_end()).unwrap().wait().unwrap();
        assert_eq!(names(&log)[2 * round..], [r#"10: "one""#, "20: null"]);
    }
}

#[test]
fn a_row_finds_the_table_as_it_was_when_the_query_began_and_as_it_is_changed() {
    let log = TestLog::new();
    let running = run(log.log.clone(), enriched(), options()).unwrap();
    running.stop().unwrap();
    name(&log, 0, r#"{"id":1}"#, r#"{"id":1,"name":"one"}"#);
    name(&log, 1, "2", r#"{"id":2,"name":"two"}"#);
    log.append("events", 0, &[event(1, 1, 10), event(2, 1, 20), event(3, 1, 30)], 3);
    let running = run(log.log.clone(), enriched(), options()).unwrap();
    wait_until("all rows are there", || names(&log).len() == 3);
    assert_eq!(names(&log), [r#"10: "one""#, r#"20: "two""#, "30: null"]);
    // A deletion by an object, one by a bare key, a change; and the query starts again in between.
    name(&log, 0, r#"{"id":1}"#, "");
    name(&log, 1, "2", "");
    name(&log, 0, r#"{"id":3}"#, r#"{"id":3,"name":"three"}"#);
    running.stop().unwrap();
    let running = run(log.log.clone(), enriched(), options()).unwrap();
    log.append("events", 0, &[event(1, 1, 11), event(2, 1, 21), event(3, 1, 31)], 3);
    wait_until("all rows are there", || names(&log).len() == 6);
    assert_eq!(names(&log)[3..], ["11: null", "21: null", r#"31: "three""#]);
    running.stop().unwrap();
}

#[test]
fn versions_in_a_file_are_what_they_were_when_a_query_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rates.csv");
    // Not in the order of time: of what the watermark has passed the last line must not win.
    let versions = [("02:00", 7), ("01:00", 6), ("00:00", 5)];
    let lines = versions.map(|(minutes, rate)| format!("1,1970-01-01T00:{minutes},{rate}\n"));
    std::fs::write(&path, format!("key,since,rate\n{}", lines.concat())).unwrap();
    let query = pipeline(&format!(
        "CREATE TABLE rates (key BIGINT PRIMARY KEY, since TIMESTAMP, rate BIGINT, WATERMARK FOR since AS since)
           WITH (path = '{}');
         CREATE STREAM rated AS SELECT e.value, r.rate FROM events AS e
           JOIN rates FOR SYSTEM_TIME AS OF e.ts AS r ON e.key = r.key;",
        path.display()
    ))
    .remove(0);
    let log = TestLog::new();
    log.create("events", 2);
    // A row waits until the watermark, 5 s behind, has passed its time.
    for (seconds, rows) in [(10, 0), (70, 1), (100, 2), (110, 3)] {
        let options = RunOptions {
            new_operator: RunOptions::default().new_operator,
            ..options()
        };
        let running = run(log.log.clone(), query.clone(), options).unwrap();
        log.append("events", 0, &[event(1, seconds, seconds)], 1);
        wait_until("the rows before it are there", || {
            let read = running.statistics().tasks.iter().any(|task| task.records_in == 1);
            read && log.values("rated").len() == rows
        });
        running.stop().unwrap();
    }
    let row = |value, rate| format!(r#"{{"value":{value},"rate":{rate}}}"#);
    assert_eq!(log.values("rated"), [row(10, 5), row(100, 6), row(70, 6)]);
}

#[test]
fn a_file_that_was_changed_is_read_again() {
    let log = TestLog::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.csv");
    let mut query = enriched();
    if let Source::Table(table) = &mut query.stages[0].inputs[1].source {
        Arc::make_mut(table).file = Some(path.clone().into());
    }
    log.create("events", 1);
    // What is not in it any more is not in the table any more, nor after the next start.
    let names_of_1 = [r#""one""#, r#""uno""#, "null", "null"];
    let texts = [
        "id,name\n1,one\n",
        "id,name\n1,uno\n",
        "id,name\n2,two\n",
        "id,name\n2,two\n",
    ];
    for (number, (name, text)) in names_of_1.into_iter().zip(texts).enumerate() {
        std::fs::write(&path, text).unwrap();
        log.append("events", 0, &[event(1, 1, 10)], 1);
        run(log.log.clone(), query.clone(), to_the_end())
            .unwrap()
            .wait()
            .unwrap();
        assert_eq!(names(&log)[number..], [format!("10: {name}")]);
    }
}

#[test]
fn a_table_of_which_deletions_may_have_been_missed_is_read_anew() {
    const HOUR: i64 = 3_600_000_000;
    let log = TestLog::new();
    log.create("events", 1);
    let run_at = |hour: i64| {
        log.append("events", 0, &[event(1, 1, 10), event(2, 1, 20)], 2);
        let options = RunOptions {
            clock: Arc::new(move || hour * HOUR),
            ..to_the_end()
        };
        run(log.log.clone(), enriched(), options).unwrap().wait().unwrap();
        let all = names(&log);
        all[all.len() - 2..].to_vec()
    };
    log.create("names", 2);
    name(&log, 0, "1", r#"{"id":1,"name":"one"}"#);
    name(&log, 0, "2", r#"{"id":2,"name":"two"}"#);
    assert_eq!(run_at(0), [r#"10: "one""#, r#"20: "two""#]);
    // Compaction has left nothing of the second, nor of its deletion.
    name(&log, 0, "2", "");
    name(&log, 0, "1", r#"{"id":1,"name":"one"}"#);
    log.log.delete_before(&TopicPartition::new("names", 0), 3).unwrap();
    assert_eq!(run_at(23), [r#"10: "one""#, r#"20: "two""#]);
    for hour in [48, 49] {
        assert_eq!(run_at(hour), [r#"10: "one""#, "20: null"]);
    }
}

#[test]
fn what_changes_in_a_table_is_kept_while_the_stream_is_silent() {
    let log = TestLog::new();
    let running = run(log.log.clone(), enriched(), options()).unwrap();
    let kept = || {
        log.log
            .offsets(&TopicPartition::new("enriched.0.state", 0))
            .unwrap()
            .end
    };
    wait_until("it has begun", || kept() > 0);
    let before = kept();
    name(&log, 0, "1", r#"{"id":1,"name":"one"}"#);
    name(&log, 0, "2", "no json");
    wait_until("the change is kept", || kept() > before);
    wait_until("the dead letter is written", || log.values("names.dead") == ["no json"]);
    running.stop().unwrap();
}

#[test]
fn records_of_a_table_that_can_not_be_used_are_dead_letters() {
    let log = TestLog::new();
    log.create("events", 1);
    let query = enriched();
    run(log.log.clone(), query.clone(), to_the_end())
        .unwrap()
        .wait()
        .unwrap();
    name(&log, 0, "1", r#"{"id":1,"name":"one"}"#);
    name(&log, 0, "2", "no json");
    name(&log, 0, "x", "");
    name(&log, 1, "3", r#"{"id":3,"name":"damaged"}"#);
    name(&log, 1, "3", r#"{"id":3,"name":"three"}"#);
    let log = log.damage(r#"{"id":3,"name":"damaged"}"#);
    log.append("events", 0, &[event(1, 1, 10), event(3, 1, 30)], 2);
    for round in 1..=2 {
        // Once, and neither again when the query starts again nor by each of its tasks.
        let running = run(log.log.clone(), query.clone(), options()).unwrap();
        wait_until("the rows are there", || names(&log).len() == 2 * round);
        running.stop().unwrap();
        assert_eq!(names(&log)[2 * round - 2..], [r#"10: "one""#, r#"30: "three""#]);
        let dead = log.records("names.dead").into_iter();
        let dead: Vec<_> = dead
            .map(|(partition, key, value)| (partition, key.unwrap_or_default(), value))
            .collect();
        let letter = |partition, key: &str, value: &str| (partition, key.to_owned(), value.to_owned());
        assert_eq!(dead, [letter(0, "2", "no json"), letter(0, "x", ""), letter(1, "", "")]);
        log.append("events", 0, &[event(1, 1, 10), event(3, 1, 30)], 2);
    }
}
