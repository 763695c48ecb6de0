//! The embedded log keeps the contract.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use rechka_log::{Log, Options, SqliteLog, conformance::Subject};

struct Embedded {
    log: Option<SqliteLog>,
    directory: tempfile::TempDir,
}

fn open(directory: &tempfile::TempDir) -> SqliteLog {
    let options = Options {
        handover_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    SqliteLog::open_with(directory.path(), options).unwrap()
}

fn embedded() -> Embedded {
    let directory = tempfile::tempdir().unwrap();
    Embedded {
        log: Some(open(&directory)),
        directory,
    }
}

impl Subject for Embedded {
    fn log(&self) -> &dyn Log {
        self.log.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.log = None;
        self.log = Some(open(&self.directory));
    }

    fn clean(&self) {
        self.log.as_ref().unwrap().maintain().unwrap();
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

rechka_log::conformance_tests!(embedded());
