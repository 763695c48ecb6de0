//! What lies where the log should be.
use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use rechka_log::{Log, LogError, Reader, SqliteLog};

use crate::{append, at, batch, noise, texts, with_topic};

#[test]
fn a_foreign_file_is_refused_and_left_as_it_is() {
    for content in [&b"some notes of mine"[..], &[0; 4096], b"", b"SQLite format 3\0"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log.sqlite");
        fs::write(&file, content).unwrap();
        for opened in [
            SqliteLog::open(directory.path()),
            SqliteLog::open_read_only(directory.path()),
        ] {
            assert!(matches!(opened, Err(LogError::Foreign(_))), "{opened:?}");
        }
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_foreign_database_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log.sqlite");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")
        .unwrap();
    drop(database);
    let before = fs::read(&file).unwrap();
    let opened = SqliteLog::open(directory.path());
    assert!(matches!(opened, Err(LogError::Foreign(_))), "{opened:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_newer_format_is_refused_with_the_advice_to_upgrade() {
    let directory = tempfile::tempdir().unwrap();
    drop(with_topic(directory.path()));
    let file = directory.path().join("log.sqlite");
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&2_i32.to_be_bytes(), 60).unwrap();
    for opened in [
        SqliteLog::open(directory.path()),
        SqliteLog::open_read_only(directory.path()),
    ] {
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("upgrade"), "{error}");
    }
}

#[test]
fn a_truncated_file_is_an_error_and_never_a_panic_or_wrong_data() {
    let directory = tempfile::tempdir().unwrap();
    let log = with_topic(directory.path());
    for number in 0..20 {
        append(&log, at("t", 0), batch([noise(number, 100_000)])).unwrap();
    }
    drop(log);
    let whole = fs::read(directory.path().join("log.sqlite")).unwrap();
    for keep in [
        99,
        512,
        4096,
        40_000,
        whole.len() / 2,
        whole.len() - 50_000,
        whole.len() - 1,
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("log.sqlite"), &whole[..keep]).unwrap();
        let Ok(log) = SqliteLog::open(directory.path()) else {
            continue;
        };
        let Ok(mut reader) = log.read(vec![(at("t", 0), 0)]) else {
            continue;
        };
        let mut number = 0;
        let error = loop {
            match reader.poll(Duration::ZERO) {
                Ok(Some(fetched)) => {
                    for record in fetched.batch.iter() {
                        assert!(record.value == noise(number, 100_000));
                        number += 1;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(
            number == 20 || error.is_some(),
            "records were missing silently with {keep} bytes"
        );
    }
}

#[test]
fn damaged_records_are_told_once_and_the_rest_is_read() {
    let flip_a_byte = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        let needle = &noise(1, 1000)[100..150];
        let place = bytes.windows(50).position(|window| window == needle).unwrap();
        bytes[place] ^= 1;
        fs::write(file, bytes).unwrap();
    };
    let drop_the_blob = |file: &Path| {
        let database = rusqlite::Connection::open(file).unwrap();
        database.execute("DELETE FROM blob WHERE id = 2", []).unwrap();
    };
    let change_the_codec = |file: &Path| {
        let database = rusqlite::Connection::open(file).unwrap();
        database
            .execute("UPDATE batch SET codec = 7 WHERE base_offset = 2", [])
            .unwrap();
    };
    let damages: [&dyn Fn(&Path); 3] = [&flip_a_byte, &drop_the_blob, &change_the_codec];
    for damage in damages {
        let directory = tempfile::tempdir().unwrap();
        let log = with_topic(directory.path());
        for number in 0..3 {
            append(&log, at("t", 0), batch([noise(number, 1000), b"and".to_vec()])).unwrap();
        }
        drop(log);
        damage(&directory.path().join("log.sqlite"));
        let log = SqliteLog::open(directory.path()).unwrap();
        assert_damaged(&mut *log.read(vec![(at("t", 0), 0)]).unwrap());
        assert_eq!(log.offset_at(&at("t", 0), 0).unwrap(), 0);
        drop(log);
        let log = SqliteLog::open_read_only(directory.path()).unwrap();
        assert_damaged(&mut *log.read(vec![(at("t", 0), 0)]).unwrap());
    }
}

/// Reads six records of which the third and fourth are damaged.
fn assert_damaged(reader: &mut dyn Reader) {
    let next = |reader: &mut dyn Reader| reader.poll(Duration::ZERO);
    assert_eq!(next(reader).unwrap().unwrap().base_offset, 0);
    match next(reader).unwrap_err() {
        LogError::Damaged { from, offsets, .. } => assert_eq!((from, offsets), (at("t", 0), 2..4)),
        other => panic!("{other}"),
    }
    assert_eq!(next(reader).unwrap().unwrap().base_offset, 4);
}

#[test]
fn records_that_are_gone_at_the_end_are_told_as_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let log = with_topic(directory.path());
    for number in 0..3 {
        append(&log, at("t", 0), batch([noise(number, 1000)])).unwrap();
    }
    drop(log);
    let log = SqliteLog::open(directory.path()).unwrap();
    let database = rusqlite::Connection::open(directory.path().join("log.sqlite")).unwrap();
    database.execute("DELETE FROM batch WHERE base_offset > 0", []).unwrap();
    let mut reader = log.read(vec![(at("t", 0), 1)]).unwrap();
    let error = reader.poll(Duration::ZERO).unwrap_err();
    assert!(
        matches!(&error, LogError::Damaged { offsets, .. } if *offsets == (1..3)),
        "{error}"
    );
    append(&log, at("t", 0), batch(["new"])).unwrap();
    assert_eq!(reader.poll(Duration::ZERO).unwrap().unwrap().base_offset, 3);
}

#[test]
fn a_file_with_random_damage_gives_errors_or_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let log = with_topic(directory.path());
    let mut originals = HashSet::new();
    for number in 0..10 {
        let values = [noise(number, 3000), b"text ".repeat(100 + number as usize)];
        append(&log, at("t", (number % 2) as u32), batch(&values)).unwrap();
        originals.extend(values);
    }
    drop(log);
    let whole = fs::read(directory.path().join("log.sqlite")).unwrap();
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % bound
    };
    let mut noticed = 0;
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random(20) {
            let page = random(bytes.len() / 4096) * 4096;
            // The beginnings and ends of pages are where SQLite's structures lie.
            let place = page
                + if random(2) == 0 {
                    random(120)
                } else {
                    4095 - random(200)
                };
            bytes[place] = random(256) as u8;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("log.sqlite"), bytes).unwrap();
        let read = || -> rechka_log::Result<()> {
            let log = SqliteLog::open(directory.path())?;
            for topic in log.topics()? {
                for partition in 0..topic.partitions {
                    let partition = at(&topic.name, partition);
                    log.offset_at(&partition, 0)?;
                    let mut reader = log.read(vec![(partition, 0)])?;
                    while let Some(fetched) = reader.poll(Duration::ZERO)? {
                        for record in fetched.batch.iter() {
                            assert!(originals.contains(record.value));
                        }
                    }
                }
            }
            Ok(())
        };
        noticed += usize::from(read().is_err());
    }
    assert!(noticed > 20, "only {noticed} of 150 damaged files gave an error");
}

#[test]
fn a_half_made_log_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("log.sqlite.new"), b"half").unwrap();
    let log = with_topic(directory.path());
    append(&log, at("t", 0), batch(["x"])).unwrap();
    assert_eq!(texts(&log, &at("t", 0)), ["x"]);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"x").unwrap();
    let error = SqliteLog::open(file.join("log")).unwrap_err().to_string();
    assert!(error.contains("file/log"), "{error}");
    let error = SqliteLog::open_read_only(directory.path()).unwrap_err().to_string();
    assert!(error.contains("there is no log"), "{error}");
}
