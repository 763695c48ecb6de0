//! A log with declared relations, and queries over it, run both ways.
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use rechka_engine::{Reading, RunOptions, Speech, run, stored};
use rechka_formats::Format;
use rechka_log::{Append, BatchBuilder, Cleanup, Log, Partition, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::{Kind, Mode, Pipeline, Relation, Reply, Statement, catalog::Named};
use serde_json::{Map, Value};

use crate::cut::{Cut, CutLog};

/// A record: partition, key, value.
pub type Record = (Partition, Option<String>, String);

/// A record to append: key, value, time in milliseconds.
pub type Input = (Option<String>, String, i64);

/// A log in a directory that goes with it, and what is declared over it.
pub struct World {
    pub log: Arc<dyn Log>,
    /// The relations as a stream sees them.
    pub stream: Pipeline,
    /// The same for a query over what is stored.
    pub batch: Pipeline,
    _directory: tempfile::TempDir,
}

/// What a stream made.
pub struct Made {
    /// Its result.
    pub relation: Relation,
    /// The records of the result, in order.
    pub records: Vec<Record>,
    /// The records of the late rows.
    pub late: Vec<Record>,
    /// Its dead letters: topic, offset of the record if it is one, value.
    pub dead: Vec<String>,
}

impl World {
    pub fn new(declarations: &str, folder: &Path, cut: Cut) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        let mut world = World {
            log: Arc::new(CutLog { log, cut }),
            stream: Pipeline::new(Mode::Stream, folder),
            batch: Pipeline::new(Mode::Batch, folder),
            _directory: directory,
        };
        for statement in Statement::parse(declarations).unwrap() {
            world.stream.execute(statement.clone()).unwrap();
            world.batch.execute(statement).unwrap();
        }
        for (_, named) in world.stream.catalog.iter() {
            if let Named::Relation(relation) = named
                && relation.file.is_none()
            {
                world.create(relation);
            }
        }
        world
    }

    fn create(&self, relation: &Relation) {
        let cleanup = match relation.kind {
            Kind::Stream => Cleanup::Delete,
            Kind::Table | Kind::View => Cleanup::Compact,
        };
        let spec = TopicSpec::new(relation.topic.clone(), relation.partitions);
        self.log.create_topic(&TopicSpec { cleanup, ..spec }).unwrap();
    }

    pub fn relation(&self, name: &str) -> Arc<Relation> {
        match self.stream.catalog.get(name) {
            Some(Named::Relation(relation)) => relation.clone(),
            _ => panic!("there is no relation {name}"),
        }
    }

    /// Appends records, as one batch.
    pub fn append(&self, relation: &Relation, partition: Partition, records: &[Input]) {
        let mut batch = BatchBuilder::new();
        for (key, value, time) in records {
            let key = key.as_ref().map(String::as_bytes);
            batch.push(key, value.as_bytes(), *time, &[]).unwrap();
        }
        let to = TopicPartition::new(relation.topic.clone(), partition);
        let batch = batch.finish();
        self.log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
    }

    /// Runs statements as streams, to the end of their input, one after another; gives what the last one makes.
    pub fn run(&self, text: &str, options: &RunOptions) -> Result<Made, String> {
        let mut pipeline = self.stream.clone();
        let before = pipeline.running.len();
        for statement in Statement::parse(text).map_err(|error| error.to_string())? {
            pipeline.execute(statement).map_err(|error| error.to_string())?;
        }
        let mut made = None;
        for running in &pipeline.running[before..] {
            let query = &running.query;
            let ended = run(self.log.clone(), query.clone(), options.clone()).and_then(|running| running.wait());
            ended.map_err(|error| error.to_string())?;
            made = Some(Made {
                relation: query.result.clone(),
                records: self.records(&query.result.topic),
                late: self.records(&format!("{}.late", query.name)),
                dead: self.dead_letters(&query.name),
            });
        }
        made.ok_or_else(|| "nothing runs".to_owned())
    }

    /// Runs the last of the statements over what is stored.
    pub fn query(&self, text: &str) -> Result<Vec<String>, String> {
        let mut pipeline = self.batch.clone();
        let mut plan = None;
        for statement in Statement::parse(text).map_err(|error| error.to_string())? {
            if let Reply::Query(query) = pipeline.execute(statement).map_err(|error| error.to_string())? {
                plan = Some(query);
            }
        }
        let rows =
            stored::query(&self.log, plan.ok_or("no query")?, &Speech::default()).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows = runtime.block_on(rows.collect()).map_err(|error| error.to_string())?;
        Ok(rows.iter().flat_map(lines).collect())
    }

    /// The dead letters that a query has written: `TOPIC OFFSET: VALUE`.
    fn dead_letters(&self, query: &str) -> Vec<String> {
        let topics = self.log.topics().unwrap().into_iter();
        let mut letters = Vec::new();
        for spec in topics.filter(|spec| spec.name.ends_with(".dead")) {
            for partition in 0..spec.partitions {
                let name = TopicPartition::new(spec.name.clone(), partition);
                let mut reader = self.log.read(vec![(name, 0)]).unwrap();
                while let Some(fetched) = reader.poll(Duration::ZERO).unwrap() {
                    for record in fetched.batch.iter() {
                        let header = |name| record.header(name).map(String::from_utf8_lossy).unwrap_or_default();
                        assert!(!header("dead.reason").is_empty());
                        if header("dead.query") == query {
                            let place = format!("{} {}", spec.name, header("dead.offset"));
                            let value = String::from_utf8_lossy(record.value);
                            letters.push(format!("{}: {value}", place.trim_end()).replace("1970-01-01T", ""));
                        }
                    }
                }
            }
        }
        letters
    }

    /// How many batches a topic holds.
    pub fn batches(&self, topic: &str) -> usize {
        let mut reader = self.log.read(vec![(TopicPartition::new(topic, 0), 0)]).unwrap();
        std::iter::from_fn(|| reader.poll(Duration::ZERO).unwrap()).count()
    }

    /// The records of a topic, in order.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let spec = self.log.topics().unwrap().into_iter().find(|spec| &*spec.name == topic);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Vec::new();
        for partition in 0..spec.unwrap().partitions {
            let name = TopicPartition::new(topic, partition);
            let offsets = self.log.offsets(&name).unwrap();
            let mut reader = self.log.read(vec![(name, offsets.start)]).unwrap();
            let mut next = offsets.start;
            while next < offsets.end {
                let fetched = reader.poll(Duration::from_secs(5)).unwrap().unwrap();
                next = fetched.next_offset();
                let records = fetched.batch.iter();
                found.extend(records.map(|record| (partition, record.key.map(text), text(record.value))));
            }
        }
        found
    }
}

/// To the end, in epochs as they are cut.
pub fn options() -> RunOptions {
    RunOptions {
        epoch: Duration::from_secs(3600),
        parallelism: 2,
        reading: Reading::ToTheEnd,
        attempts: Some(1),
        restart_delay: Duration::ZERO,
        ..RunOptions::default()
    }
}

impl Made {
    /// The rows that are there in the end: all of a stream, the last of each key of a table.
    pub fn rows(&self) -> Vec<String> {
        if self.relation.kind == Kind::Stream {
            return self.records.iter().map(|(_, _, value)| self.line(value)).collect();
        }
        let mut last = BTreeMap::new();
        for (partition, key, value) in &self.records {
            match value.is_empty() {
                true => last.remove(&(partition, key)),
                false => last.insert((partition, key), self.line(value)),
            };
        }
        last.into_values().collect()
    }

    /// Every record in order; one that deletes its key is that key behind a minus.
    pub fn changes(&self) -> Vec<String> {
        let change = |(_, key, value): &Record| match value.is_empty() {
            true => format!("- {}", key.as_deref().unwrap_or_default()),
            false => self.line(value),
        };
        self.records.iter().map(change).collect()
    }

    fn line(&self, value: &str) -> String {
        line(&self.relation.schema, value)
    }
}

/// A row as text: its values between bars; without the first day of 1970.
fn line(schema: &arrow::datatypes::Schema, json: &str) -> String {
    let row: Map<String, Value> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let cell = |field: &Arc<arrow::datatypes::Field>| match row.get(field.name()) {
        None | Some(Value::Null) => "NULL".to_owned(),
        Some(Value::String(text)) => text.strip_prefix("1970-01-01T").unwrap_or(text).to_owned(),
        Some(value) => value.to_string(),
    };
    schema.fields().iter().map(cell).collect::<Vec<_>>().join(" | ")
}

fn lines(rows: &RecordBatch) -> Vec<String> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let schema = rows.schema();
    let encoder = Format::Json.encoder(&schema);
    encoder.unwrap().encode(rows, &mut bytes, &mut ends).unwrap();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let value = |(start, end): (usize, &usize)| String::from_utf8_lossy(&bytes[start..*end]).into_owned();
    starts.zip(&ends).map(value).map(|json| line(&schema, &json)).collect()
}
