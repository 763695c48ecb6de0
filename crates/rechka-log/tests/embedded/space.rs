//! Space: a full disk, and what deletion gives back.
use std::{fs, time::Duration};

use rechka_log::{Cleanup, Log, LogError, Options, Retention, SqliteLog, TopicSpec};

use crate::{append, at, batch, noise, texts, with_topic};

/// A file system of 8 MiB of its own, where this user may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(directory.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_fails_the_append_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    let directory = disk.0.path().join("log");
    let log = with_topic(&directory);
    // Something else on the disk that can be removed again.
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let mut kept = Vec::new();
    let mut failed = 0;
    for number in 0..40 {
        if number == 30 {
            fs::remove_file(&ballast).unwrap();
        }
        let text: String = noise(number, 200_000)
            .iter()
            .map(|byte| char::from(b'!' + byte % 90))
            .collect();
        match append(&log, at("t", 0), batch([&text])) {
            Ok(offset) => {
                assert_eq!(offset as usize, kept.len());
                kept.push(text);
            }
            Err(error) => {
                assert!(
                    matches!(&error, LogError::Storage(why) if why.contains("full")),
                    "{error}"
                );
                failed += 1;
            }
        }
    }
    assert!(failed > 0, "the disk was never full");
    assert!(kept.len() > 5);
    assert!(
        texts(&log, &at("t", 0)) == kept,
        "what failed appeared, or what was kept is missing"
    );
    drop(log);
    let log = SqliteLog::open(&directory).unwrap();
    assert!(texts(&log, &at("t", 0)) == kept);
}

fn file_size(directory: &tempfile::TempDir) -> u64 {
    fs::metadata(directory.path().join("log.sqlite")).unwrap().len()
}

#[test]
fn the_space_of_deleted_records_and_topics_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut largest = 0;
    for round in 0..6 {
        // Closing moves everything from the WAL into the file.
        let log = with_topic(directory.path());
        for number in 0..10 {
            append(&log, at("t", 0), batch([noise(number, 200_000)])).unwrap();
        }
        if round % 2 == 0 {
            let end = log.offsets(&at("t", 0)).unwrap().end;
            log.delete_before(&at("t", 0), end).unwrap();
        } else {
            log.delete_topic("t").unwrap();
        }
        if round % 3 == 0 {
            log.maintain().unwrap();
        }
        drop(log);
        if round == 1 {
            largest = file_size(&directory);
        }
    }
    assert!(
        file_size(&directory) <= largest + (1 << 20),
        "{} > {largest}",
        file_size(&directory)
    );
}

#[test]
fn retention_goes_on_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        maintenance_interval: Duration::from_millis(10),
        ..Options::default()
    };
    let log = SqliteLog::open_with(directory.path(), options).unwrap();
    log.create_topic(&TopicSpec {
        retention: Retention {
            bytes: Some(550_000),
            age: None,
        },
        ..TopicSpec::new("small", 1)
    })
    .unwrap();
    for number in 0..20 {
        append(&log, at("small", 0), batch([noise(number, 100_000)])).unwrap();
    }
    while log.offsets(&at("small", 0)).unwrap().start < 15 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(log.offsets(&at("small", 0)).unwrap(), 15..20);
}

#[test]
fn compaction_frees_the_space_and_drops_old_tombstones() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        tombstone_age: Duration::from_secs(3600),
        ..Options::default()
    };
    let open = || SqliteLog::open_with(directory.path(), options.clone()).unwrap();
    let log = open();
    log.create_topic(&TopicSpec {
        cleanup: Cleanup::Compact,
        ..TopicSpec::new("state", 1)
    })
    .unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let put = |key: &str, value: &[u8], timestamp: i64| {
        let mut builder = rechka_log::BatchBuilder::new();
        builder.push(Some(key.as_bytes()), value, timestamp, &[]).unwrap();
        append(&log, at("state", 0), builder.finish()).unwrap()
    };
    for round in 0..50 {
        put("hot", format!("{round} {}", "x".repeat(1000)).as_bytes(), now);
    }
    put("gone", b"value", 0);
    let old_tombstone = put("gone", b"", 1);
    let young_tombstone = put("leaving", b"", now);
    let last = put("last", b"batch", now);
    log.maintain().unwrap();
    drop(log);
    let log = open();
    let mut reader = log.read(vec![(at("state", 0), 0)]).unwrap();
    let mut offsets = Vec::new();
    while let Some(fetched) = reader.poll(Duration::ZERO).unwrap() {
        offsets.extend(fetched.base_offset..fetched.next_offset());
    }
    assert!(!offsets.contains(&old_tombstone));
    assert_eq!(offsets, [49, young_tombstone, last]);
    assert_eq!(log.offset_at(&at("state", 0), now).unwrap(), 49);
    assert_eq!(log.offsets(&at("state", 0)).unwrap().end, last + 1);
    // Starting in a hole.
    let mut reader = log.read(vec![(at("state", 0), 50)]).unwrap();
    let fetched = reader.poll(Duration::ZERO).unwrap().unwrap();
    assert_eq!(fetched.base_offset, young_tombstone);
}

#[test]
fn a_damaged_partition_does_not_keep_the_others_from_being_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(directory.path()).unwrap();
    for (topic, seeds) in [("a", 0..5), ("b", 5..10)] {
        log.create_topic(&TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(topic, 1)
        })
        .unwrap();
        for seed in seeds {
            let mut builder = rechka_log::BatchBuilder::new();
            builder.push(Some(b"key"), &noise(seed, 1000), 0, &[]).unwrap();
            append(&log, at(topic, 0), builder.finish()).unwrap();
        }
    }
    drop(log);
    let file = directory.path().join("log.sqlite");
    let mut bytes = fs::read(&file).unwrap();
    let needle = &noise(1, 1000)[100..150];
    let place = bytes.windows(50).position(|window| window == needle).unwrap();
    bytes[place] ^= 1;
    fs::write(&file, bytes).unwrap();
    let log = SqliteLog::open(directory.path()).unwrap();
    assert!(matches!(log.maintain(), Err(LogError::Damaged { .. })));
    let records = |topic| {
        let mut reader = log.read(vec![(at(topic, 0), 0)]).unwrap();
        let mut records = 0;
        while let Ok(Some(fetched)) = reader.poll(Duration::ZERO) {
            records += fetched.batch.len();
        }
        records
    };
    // Of the one what lies before the damage, of the other the last of its key.
    assert_eq!((records("a"), records("b")), (1, 1));
}
