//! A log, streams, plans.
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::{
    logical_expr::Operator as Op,
    physical_expr::expressions::{BinaryExpr, Column, Literal},
    scalar::ScalarValue,
};
use rechka_formats::Format;
use rechka_log::{Append, BatchBuilder, Log, Partition, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::{
    catalog::{EventTime, Kind, Relation},
    plan::{Closing, Expr, Input, Node, Operation, Origin, Output, Query, Source, Stage, TopN},
};

use super::totals::Totals;
use crate::{RunOptions, operators};

/// A log in a directory that goes with it.
pub struct TestLog {
    pub log: Arc<dyn Log>,
    _directory: tempfile::TempDir,
}

impl TestLog {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        TestLog {
            log: Arc::new(SqliteLog::open(directory.path()).unwrap()),
            _directory: directory,
        }
    }

    /// Changes one byte of the log's file where `text` stands in it.
    pub fn damage(self, text: &str) -> Self {
        let TestLog { log, _directory } = self;
        drop(log);
        let file = _directory.path().join("log.sqlite");
        let mut bytes = std::fs::read(&file).unwrap();
        let place = bytes
            .windows(text.len())
            .position(|window| window == text.as_bytes())
            .unwrap();
        bytes[place] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        TestLog {
            log: Arc::new(SqliteLog::open(_directory.path()).unwrap()),
            _directory,
        }
    }

    pub fn create(&self, topic: &str, partitions: Partition) {
        self.log.create_topic(&TopicSpec::new(topic, partitions)).unwrap();
    }

    /// Appends values, each batch of at most so many.
    pub fn append(&self, topic: &str, partition: Partition, values: &[String], batch: usize) {
        for values in values.chunks(batch) {
            let mut builder = BatchBuilder::new();
            for value in values {
                builder.push(None, value.as_bytes(), 7, &[]).unwrap();
            }
            let to = TopicPartition::new(topic, partition);
            let batch = builder.finish();
            self.log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
        }
    }

    /// The records of a topic: partition, key, value.
    pub fn records(&self, topic: &str) -> Vec<(Partition, Option<String>, String)> {
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

    /// The values of a topic, sorted.
    pub fn values(&self, topic: &str) -> Vec<String> {
        let mut values: Vec<String> = self.records(topic).into_iter().map(|(_, _, value)| value).collect();
        values.sort();
        values
    }
}

/// Columns `key`, `ts`, `value`.
pub fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("value", DataType::Int64, true),
    ]))
}

pub fn event(key: i64, seconds: i64, value: i64) -> String {
    format!(r#"{{"key":{key},"ts":{},"value":{value}}}"#, seconds * 1000)
}

pub fn event_time() -> EventTime {
    EventTime {
        column: 1,
        delay: Duration::from_secs(5),
        idle: None,
        ahead: Duration::from_secs(3600),
        announced: false,
    }
}

pub fn relation(name: &str, schema: SchemaRef, partitions: Partition) -> Relation {
    Relation {
        name: name.into(),
        kind: Kind::Stream,
        schema,
        event_time: None,
        related_times: Vec::new(),
        key: Vec::new(),
        topic: name.into(),
        partitions,
        format: Format::Json,
        metadata: Vec::new(),
        file: None,
    }
}

/// The stream `events`, as a stage reads it.
pub fn events(partitions: Partition) -> Input {
    let stream = Relation {
        event_time: Some(event_time()),
        ..relation("events", columns(), partitions)
    };
    Input {
        source: Source::Stream(Arc::new(stream)),
        schema: columns(),
        event_time: Some(event_time()),
    }
}

/// Keeps the rows with a value of at least so much.
pub fn at_least(value: i64) -> Node {
    let column = |name: &str, index| Arc::new(Column::new(name, index)) as Expr;
    let least = Arc::new(Literal::new(ScalarValue::from(value)));
    Node {
        operation: Operation::Map {
            filter: Some(Arc::new(BinaryExpr::new(column("value", 2), Op::GtEq, least))),
            columns: vec![column("key", 0), column("ts", 1), column("value", 2)],
        },
        from: vec![Origin::Input(0)],
        schema: columns(),
    }
}

/// The sum of the values by key and 10 s: [`Totals`], in the place of a top-n.
pub fn totals(from: Origin) -> Node {
    let top = TopN {
        partition: Vec::new(),
        order: Vec::new(),
        limit: 1,
        closing: Closing::Never,
    };
    Node {
        operation: Operation::TopN(top),
        from: vec![from],
        schema: columns(),
    }
}

/// `SELECT * FROM events WHERE value >= 0`
pub fn filter(partitions: Partition) -> Query {
    Query {
        name: "filter".into(),
        result: relation("filtered", columns(), partitions),
        stages: vec![Stage {
            inputs: vec![events(partitions)],
            nodes: vec![at_least(0)],
            output: Output::Result,
        }],
    }
}

/// Totals in one stage.
pub fn totals_in_place(partitions: Partition) -> Query {
    Query {
        name: "totals".into(),
        result: relation("totals", columns(), partitions),
        stages: vec![Stage {
            inputs: vec![events(partitions)],
            nodes: vec![at_least(0), totals(Origin::Node(0))],
            output: Output::Result,
        }],
    }
}

/// Totals behind an exchange by key.
pub fn totals_exchanged(partitions: Partition, tasks: Partition) -> Query {
    let exchange = Output::Exchange {
        topic: "totals.0".into(),
        partitions: tasks,
        keys: vec![Arc::new(Column::new("key", 0))],
    };
    Query {
        name: "totals".into(),
        result: relation("totals", columns(), tasks),
        stages: vec![
            Stage {
                inputs: vec![events(partitions)],
                nodes: vec![at_least(0)],
                output: exchange,
            },
            Stage {
                inputs: vec![Input {
                    source: Source::Exchange(0),
                    schema: columns(),
                    event_time: None,
                }],
                nodes: vec![totals(Origin::Input(0))],
                output: Output::Result,
            },
        ],
    }
}

/// Quick epochs and restarts, and [`Totals`] for a top-n.
pub fn options() -> RunOptions {
    RunOptions {
        epoch: Duration::from_millis(5),
        restart_delay: Duration::from_millis(1),
        new_operator: Arc::new(|node, inputs| match &node.operation {
            Operation::TopN(_) => Ok(Box::new(Totals::new(node.schema.clone()))),
            _ => operators::build_node(node, inputs),
        }),
        ..RunOptions::default()
    }
}

/// The same, to the end of the input.
pub fn to_the_end() -> RunOptions {
    RunOptions {
        reading: crate::Reading::ToTheEnd,
        attempts: Some(3),
        ..options()
    }
}

pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
