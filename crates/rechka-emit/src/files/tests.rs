use std::{path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rechka_formats::Format;
use rechka_log::{Append, BatchBuilder, Epoch, Event, Log, Membership, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::{Kind, Relation, statement::FileFormat};

use super::{FileSink, Limits};
use crate::EmitError;

fn relation() -> Relation {
    Relation {
        name: "numbers".into(),
        kind: Kind::Stream,
        schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
        event_time: None,
        key: Vec::new(),
        topic: "numbers.sink".into(),
        partitions: 2,
        format: Format::Arrow,
        metadata: Vec::new(),
        file: None,
        related_times: Vec::new(),
    }
}

fn append(log: &dyn Log, partition: u32, numbers: std::ops::Range<i64>) {
    let relation = relation();
    let rows = RecordBatch::try_new(
        Arc::clone(&relation.schema),
        vec![Arc::new(Int64Array::from_iter_values(numbers))],
    )
    .unwrap();
    let (mut value, mut ends) = (Vec::new(), Vec::new());
    relation
        .format
        .encoder(&relation.schema)
        .unwrap()
        .encode(&rows, &mut value, &mut ends)
        .unwrap();
    let mut batch = BatchBuilder::new();
    batch.push(None, &value, 0, &[]).unwrap();
    log.append(vec![Append {
        to: TopicPartition::new(relation.topic, partition),
        batch: batch.finish(),
    }])
    .unwrap()
    .wait()
    .unwrap();
}

fn numbers(folder: &Path) -> Vec<i64> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "parquet") {
            let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap())
                .unwrap()
                .build()
                .unwrap();
            for rows in reader {
                numbers.extend(rows.unwrap().column(0).as_primitive::<Int64Type>().values());
            }
        }
    }
    numbers.sort_unstable();
    numbers
}

fn log() -> (tempfile::TempDir, Arc<dyn Log>) {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(folder.path().join("log")).unwrap();
    log.create_topic(&TopicSpec::new("numbers.sink", 2)).unwrap();
    (folder, Arc::new(log))
}

fn wait_for(folder: &Path, count: usize) {
    for _ in 0..500 {
        if numbers(folder).len() >= count {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} of {count} rows came", numbers(folder).len());
}

#[test]
fn every_row_is_in_exactly_one_file_over_restarts() {
    let (folder, log) = log();
    let out = folder.path().join("out");
    let limits = Limits {
        rows: 50,
        ..Limits::default()
    };
    for round in 0..3 {
        let sink = FileSink::spawn(Arc::clone(&log), relation(), out.clone(), FileFormat::Parquet, limits).unwrap();
        for part in 0..4 {
            let start = round * 400 + part * 100;
            append(&*log, (part % 2) as u32, start..start + 100);
        }
        wait_for(&out, (round as usize + 1) * 400);
        sink.stop().unwrap();
        assert_eq!(numbers(&out), (0..(round + 1) * 400).collect::<Vec<_>>());
    }
}

#[test]
fn a_file_whose_offset_was_not_committed_is_replaced() {
    let (folder, log) = log();
    let out = folder.path().join("out");
    append(&*log, 0, 0..10);
    // What a sink leaves that dies between renaming the file and committing its offset.
    begin(&*log);
    let mut part = super::Part::new(0);
    part.push(
        RecordBatch::try_new(relation().schema, vec![Arc::new(Int64Array::from_iter_values(0..10))]).unwrap(),
        1,
    );
    std::fs::create_dir_all(&out).unwrap();
    part.write(&out, &relation(), 0, FileFormat::Parquet).unwrap();
    append(&*log, 0, 10..20);
    let limits = Limits {
        rows: 15,
        ..Limits::default()
    };
    let sink = FileSink::spawn(Arc::clone(&log), relation(), out.clone(), FileFormat::Parquet, limits).unwrap();
    wait_for(&out, 20);
    sink.stop().unwrap();
    assert_eq!(numbers(&out), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_finishes_writes_what_is_stored() {
    let (folder, log) = log();
    let out = folder.path().join("out");
    append(&*log, 1, 0..3);
    let sink = FileSink::spawn(
        Arc::clone(&log),
        relation(),
        out.clone(),
        FileFormat::Csv,
        Limits::default(),
    )
    .unwrap();
    sink.finish().unwrap();
    let file = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "n\n0\n1\n2\n");
}

/// Commits offset 0 of every partition, as a sink does before it writes anything.
fn begin(log: &dyn Log) {
    let membership = Membership::new("numbers.files", vec![relation().topic]);
    let mut member = log.join(membership).unwrap();
    let Event::Assigned(partitions) = member.poll(Duration::from_secs(10)).unwrap() else {
        panic!("a member is told its partitions first");
    };
    let offsets = partitions
        .into_iter()
        .map(|number| (TopicPartition::new(relation().topic, number), 0));
    let epoch = Epoch {
        offsets: offsets.collect(),
        appends: vec![],
    };
    member.commit(epoch).unwrap();
}

#[test]
fn the_files_of_another_log_are_not_replaced() {
    let (folder, log) = log();
    let out = folder.path().join("out");
    append(&*log, 0, 0..10);
    let spawn = |log: &Arc<dyn Log>| {
        FileSink::spawn(
            Arc::clone(log),
            relation(),
            out.clone(),
            FileFormat::Parquet,
            Limits::default(),
        )
        .unwrap()
    };
    spawn(&log).finish().unwrap();
    let (_folder, other) = super::tests::log();
    append(&*other, 0, 10..30);
    let error = spawn(&other).finish().unwrap_err().to_string();
    assert!(error.contains("written from another log"), "{error}");
    assert_eq!(numbers(&out), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_can_not_write_says_so_and_ends_when_it_shall() {
    let (folder, log) = log();
    let out = folder.path().join("out");
    append(&*log, 0, 0..10);
    let sink = FileSink::spawn(
        Arc::clone(&log),
        relation(),
        out.clone(),
        FileFormat::Parquet,
        Limits::default(),
    )
    .unwrap();
    let health = sink.health();
    std::fs::remove_dir(&out).unwrap();
    assert!(matches!(sink.finish(), Err(EmitError::File { .. })));
    assert!(health.error().unwrap().contains("can't write"));
}
