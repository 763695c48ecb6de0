//! Queries watched over a log that others write.
use std::{path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};
use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::Pipeline;

use super::{LiveQuery, Since, watch};
use crate::Outside;

struct World {
    directory: tempfile::TempDir,
    own: tempfile::TempDir,
    log: SqliteLog,
}

impl World {
    fn new(partitions: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        log.create_topic(&TopicSpec::new("e", partitions)).unwrap();
        World {
            directory,
            own: tempfile::tempdir().unwrap(),
            log,
        }
    }

    fn append(&self, partition: u32, values: &[&str]) {
        let mut batch = BatchBuilder::new();
        for value in values {
            batch.push(None, value.as_bytes(), 0, &[]).unwrap();
        }
        let to = TopicPartition::new("e", partition);
        let batch = batch.finish();
        self.log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
    }

    /// A query over the log, as another process sees it.
    fn watch(&self, partitions: u32, query: &str, since: Since) -> LiveQuery {
        let text =
            format!("CREATE STREAM e (k TEXT, v BIGINT) WITH (partitions = {partitions}); CREATE STREAM q AS {query}");
        let pipeline = Pipeline::read(&text, Path::new(""), &Outside::new("")).unwrap();
        let query = pipeline.running.into_iter().next().unwrap().query;
        let below: Arc<dyn Log> = Arc::new(SqliteLog::open_read_only(self.directory.path()).unwrap());
        let own: Arc<dyn Log> = Arc::new(SqliteLog::open(self.own.path()).unwrap());
        watch(below, own, query, since).unwrap()
    }
}

/// The next so many values of the first column, a number.
fn numbers(live: &mut LiveQuery, count: usize) -> Vec<i64> {
    let mut found = Vec::new();
    while found.len() < count {
        let rows: Option<RecordBatch> = live.next(Duration::from_secs(30)).unwrap();
        found.extend(
            rows.expect("rows in time")
                .column(0)
                .as_primitive::<Int64Type>()
                .values(),
        );
    }
    found
}

#[test]
fn rows_are_seen_as_they_come_and_nothing_is_written() {
    let world = World::new(1);
    world.append(0, &[r#"{"v":1}"#, r#"{"v":2}"#, "bad"]);
    let mut live = world.watch(1, "SELECT v * 10 AS v FROM e", Since::Start);
    assert_eq!(numbers(&mut live, 2), [10, 20]);
    world.append(0, &[r#"{"v":3}"#]);
    assert_eq!(numbers(&mut live, 1), [30]);
    drop(live);
    let topics = world.log.topics().unwrap();
    assert_eq!(topics.iter().map(|spec| &*spec.name).collect::<Vec<_>>(), ["e"]);
    assert_eq!(world.log.committed("q.0", &TopicPartition::new("e", 0)).unwrap(), None);
}

#[test]
fn only_what_comes_is_seen_if_so_asked() {
    let world = World::new(1);
    world.append(0, &[r#"{"v":1}"#]);
    let mut live = world.watch(1, "SELECT v FROM e", Since::Now);
    world.append(0, &[r#"{"v":2}"#]);
    assert_eq!(numbers(&mut live, 1), [2]);
}

#[test]
fn groups_that_change_are_seen_behind_an_exchange() {
    let world = World::new(2);
    world.append(0, &[r#"{"k":"a","v":1}"#]);
    let mut live = world.watch(2, "SELECT sum(v) AS s, k FROM e GROUP BY k", Since::Start);
    assert_eq!(numbers(&mut live, 1), [1]);
    world.append(1, &[r#"{"k":"a","v":4}"#]);
    assert_eq!(numbers(&mut live, 1), [5]);
}

#[test]
fn a_stream_without_a_topic_is_an_error() {
    let world = World::new(1);
    let text = "CREATE STREAM missing (v BIGINT); CREATE STREAM q AS SELECT v FROM missing";
    let query = Pipeline::read(text, Path::new(""), &Outside::new(""))
        .unwrap()
        .running
        .remove(0)
        .query;
    let own: Arc<dyn Log> = Arc::new(SqliteLog::open(world.own.path()).unwrap());
    let error = watch(Arc::new(world.log), own, query, Since::Now).err().unwrap();
    assert!(error.to_string().contains("missing"), "{error}");
}
