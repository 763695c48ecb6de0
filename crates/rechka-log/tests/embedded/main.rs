//! What only the embedded log promises: crashes, damaged and foreign files, a full disk, other processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod files;
mod format;
mod processes;
mod space;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rechka_log::{Append, Batch, BatchBuilder, Log, Offset, SqliteLog, TopicPartition, TopicSpec};

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn batch(values: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Batch {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(None, value.as_ref(), 0, &[]).unwrap();
    }
    builder.finish()
}

fn append(log: &SqliteLog, to: TopicPartition, batch: Batch) -> rechka_log::Result<Offset> {
    Ok(log.append(vec![Append { to, batch }])?.wait()?[0])
}

/// The values of a partition.
fn texts(log: &SqliteLog, partition: &TopicPartition) -> Vec<String> {
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    let mut texts = Vec::new();
    while let Some(fetched) = reader.poll(Duration::ZERO).unwrap() {
        let values = fetched.batch.iter().map(|record| record.value.to_vec());
        texts.extend(values.map(|value| String::from_utf8(value).unwrap()));
    }
    texts
}

/// A log with one topic "t" of two partitions.
fn with_topic(directory: &Path) -> SqliteLog {
    let log = SqliteLog::open(directory).unwrap();
    log.create_topic(&TopicSpec::new("t", 2)).unwrap();
    log
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

/// Runs the test `name` of this binary in a process of its own, in which [`child_directory`] is set.
fn child(name: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--quiet"])
        .env("RECHKA_LOG_TEST_CHILD", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The log's directory, in a child process.
fn child_directory() -> Option<std::path::PathBuf> {
    std::env::var_os("RECHKA_LOG_TEST_CHILD").map(Into::into)
}
