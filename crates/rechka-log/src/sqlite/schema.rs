//! The file: how it is recognised, made, and opened.
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::{LogError, Result};

/// The file's name in the log's directory.
pub(super) const FILE: &str = "log.sqlite";
/// `PRAGMA application_id`: "RLog".
pub(super) const APPLICATION_ID: i32 = 0x524c_6f67;
/// `PRAGMA user_version`: the version of everything that [`SCHEMA`] and [`super::blob`] lay down.
pub(super) const FORMAT: i32 = 1;
/// Large pages make large blobs cheap, small ones small commits: measured, `bench/src/bin/log.rs`.
pub(super) const PAGE_BYTES: u32 = 16 << 10;

const SCHEMA: &str = "
CREATE TABLE topic (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    partitions INTEGER NOT NULL,
    cleanup INTEGER NOT NULL,
    retention_ms INTEGER,
    retention_bytes INTEGER
) STRICT;
CREATE TABLE partition (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic INTEGER NOT NULL REFERENCES topic (id),
    number INTEGER NOT NULL,
    start_offset INTEGER NOT NULL,
    UNIQUE (topic, number)
) STRICT;
CREATE TABLE batch (
    partition INTEGER NOT NULL,
    base_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    max_timestamp INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    deltas BLOB,
    blob INTEGER NOT NULL,
    PRIMARY KEY (partition, base_offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE blob (
    id INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE committed (
    consumer_group TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, partition)
) STRICT, WITHOUT ROWID;
";

/// Path of the log's file in `directory`.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Makes the file if there is none. It appears whole, under its name, or not at all.
pub(super) fn create_if_absent(directory: &Path) -> Result<()> {
    let path = file(directory);
    if path.exists() {
        return Ok(());
    }
    let failed = |what: &str, error: std::io::Error| {
        LogError::Storage(format!("cannot {what} the log in {}: {error}", directory.display()))
    };
    let unfinished = directory.join("log.sqlite.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("make", error));
        }
        _ => {}
    }
    let connection = Connection::open(&unfinished)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {FORMAT};
         PRAGMA synchronous = FULL;
         BEGIN; {SCHEMA} COMMIT;
         PRAGMA journal_mode = WAL;"
    ))?;
    drop(connection);
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(&unfinished).map_err(|error| failed("make", error))?;
    fs::rename(&unfinished, &path).map_err(|error| failed("make", error))?;
    sync(directory).map_err(|error| failed("make", error))
}

/// Refuses a file that is not a log of this format, from its first 100 bytes, before SQLite could touch it
/// (<https://www.sqlite.org/fileformat2.html#the_database_header>).
pub(super) fn check(directory: &Path) -> Result<()> {
    let path = file(directory);
    let mut header = [0; 100];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut header));
    let path = path.display();
    if let Err(error) = read {
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => LogError::Storage(format!(
                "there is no log at {path}: start its writer first, or check the path"
            )),
            std::io::ErrorKind::UnexpectedEof => {
                LogError::Foreign(format!("{path} is too short to be a log: move it away"))
            }
            _ => LogError::Storage(format!("cannot read {path}: {error}")),
        });
    }
    let number = |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(b"SQLite format 3\0") || number(68) != APPLICATION_ID {
        return Err(LogError::Foreign(format!(
            "{path} is not a log: move it away, or give another directory"
        )));
    }
    match number(60) {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(LogError::Foreign(format!(
            "{path} has format {newer}, this version reads format {FORMAT}: upgrade Rechka"
        ))),
        other => Err(LogError::Foreign(format!(
            "{path} has the unknown format {other}: move it away"
        ))),
    }
}

/// A connection that writes.
pub(super) fn writer(directory: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        file(directory),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(10))?;
    // Checkpoints have their own thread. A small cache stays in the processor's: pages that it spills go into the WAL, where they
    // have to go anyway.
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -4096;
         PRAGMA foreign_keys = OFF;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(directory: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        file(directory),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("PRAGMA cache_size = -4096;")?;
    Ok(connection)
}
