//! Queries with their rows, as files.
use std::{path::Path, sync::Arc};

use rechka_sql::Relation;
use serde_json::{Map, Value};

use crate::{
    case::{self, Case, Input},
    world::{Input as Record, Made, World, options},
};

fn fill(world: &World, input: &Input) {
    let relation = world.relation(&input.relation);
    for lines in &input.epochs {
        let records: Vec<_> = lines.iter().map(|line| record(&relation, line)).collect();
        world.append(&relation, input.partition, &records);
    }
}

fn record(relation: &Relation, line: &str) -> Record {
    let (time, line) = match line.strip_prefix('@').and_then(|line| line.split_once(' ')) {
        Some((time, line)) => (time.parse().unwrap(), line),
        None => (0, line),
    };
    let (key, value) = key_and_value(relation, line);
    (key, value, time)
}

fn key_and_value(relation: &Relation, line: &str) -> (Option<String>, String) {
    if let Some(key) = line.strip_prefix("delete ") {
        let values: Vec<Value> = serde_json::from_str(key).unwrap();
        return (Some(object(relation, &relation.key, values)), String::new());
    }
    let Ok(Value::Array(values)) = serde_json::from_str(line) else {
        return (None, line.to_owned());
    };
    let own = |column: &usize| relation.metadata.iter().all(|(other, _)| other != column);
    let columns: Vec<usize> = (0..relation.schema.fields().len()).filter(own).collect();
    let keys = relation.key.iter().map(|&column| values[column].clone()).collect();
    let key = (!relation.key.is_empty()).then(|| object(relation, &relation.key, keys));
    (key, object(relation, &columns, values))
}

fn object(relation: &Relation, columns: &[usize], values: Vec<Value>) -> String {
    assert_eq!(columns.len(), values.len(), "{values:?} for {}", relation.name);
    let names = columns
        .iter()
        .map(|&column| relation.schema.field(column).name().clone());
    Value::Object(names.zip(values).collect::<Map<_, _>>()).to_string()
}

/// Runs a case both ways; says what is wrong.
fn check(world: &World, number: usize, case: &Case) -> Result<(), String> {
    let (before, query) = case
        .text
        .rsplit_once(';')
        .map_or(("", &*case.text), |(before, query)| (before, query));
    let semicolon = if before.is_empty() { "" } else { ";" };
    let (options_, name) = (&case.options, format!("q{number}"));
    let made = world.run(
        &format!("{before}{semicolon} CREATE STREAM {name} {options_} AS {query}"),
        &options(),
    );
    if let Some(words) = case.sections.get("error") {
        let error = made.err().ok_or("it was not refused")?;
        let missing: Vec<_> = words.iter().filter(|words| !error.contains(words.as_str())).collect();
        return if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("no {missing:?} in: {error}"))
        };
    }
    let made = made?;
    let expected = case.sections.get("").ok_or("it says nothing of rows")?;
    same("the stream", made.rows(), expected)?;
    if let Some(changes) = case.sections.get("changes") {
        let found = made.changes();
        (found == *changes)
            .then_some(())
            .ok_or_else(|| format!("changes:\n{}", found.join("\n")))?;
    }
    let none = Vec::new();
    same("late rows", late(&made), case.sections.get("late").unwrap_or(&none))?;
    if let Some(dead) = case.sections.get("dead") {
        same("dead letters", made.dead.clone(), dead)?;
    }
    if let Some(words) = case.sections.get("refused") {
        return match world.query(&case.text) {
            Err(error) if words.iter().all(|words| error.contains(words.as_str())) => Ok(()),
            at_once => Err(format!("at once: {at_once:?}")),
        };
    }
    let at_once = world.query(&case.text).map_err(|error| format!("at once: {error}"))?;
    same("at once", at_once, case.sections.get("batch").unwrap_or(expected))
}

fn late(made: &Made) -> Vec<String> {
    let text = |value: &String| value.replace("1970-01-01T", "");
    made.late.iter().map(|(_, _, value)| text(value)).collect()
}

fn same(what: &str, mut found: Vec<String>, expected: &[String]) -> Result<(), String> {
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    let differ = || format!("{what}:\n{}\nexpected:\n{}", found.join("\n"), expected.join("\n"));
    (found == expected).then_some(()).ok_or_else(differ)
}

#[test]
fn queries_give_the_same_rows_as_a_stream_and_at_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/cases");
    let only = std::env::var("RECHKA_CASE").unwrap_or_default();
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for path in paths
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
    {
        let file = case::parse(&std::fs::read_to_string(path).unwrap());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let world = World::new(&file.declarations, &folder, Arc::new(|| true));
        file.inputs.iter().for_each(|input| fill(&world, input));
        for (number, case) in file.cases.iter().enumerate() {
            let title = format!("{name}: {}", case.title);
            if title.contains(&only) {
                count += 1;
                wrong.extend(
                    check(&world, number, case)
                        .err()
                        .map(|error| format!("{title}\n{}\n{error}\n", case.text)),
                );
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} are wrong:\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{count} queries");
}

#[test]
fn a_window_of_more_rows_than_a_batch_holds_is_whole_for_the_next_query() {
    const KEYS: usize = 20_000;
    let declare = "CREATE STREAM e (k TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts);";
    let world = World::new(declare, Path::new(""), Arc::new(|| true));
    let row = |key, time| {
        (
            None,
            format!(r#"{{"k":"a key that takes a lot of room in each row of the result {key}","ts":{time}}}"#),
            0,
        )
    };
    let rows: Vec<_> = (0..KEYS)
        .map(|key| row(key, 1_000))
        .chain([row(0, 12_000), row(0, 25_000)])
        .collect();
    world.append(&world.relation("e"), 0, &rows);
    let counts = "CREATE STREAM counts AS SELECT k, window_end, count(*) AS n FROM TUMBLE(e, ts, INTERVAL '10 seconds') \
                  GROUP BY k, window_start, window_end; CREATE STREAM q AS SELECT window_end, sum(n) AS n FROM counts GROUP BY window_end";
    let made = world.run(counts, &options()).unwrap();
    assert!(world.batches("counts") > 3, "the first window takes several batches");
    assert_eq!(made.late, []);
    assert_eq!(made.rows(), ["00:00:10 | 20000", "00:00:20 | 1", "00:00:30 | 1"]);
}
