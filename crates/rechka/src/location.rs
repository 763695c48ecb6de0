//! Where the log is: the value of `--log`.
use std::{path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result};
use rechka_log::{Log, SqliteLog};

/// The value of `--log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLocation {
    /// `embedded:DIR`: one SQLite file in a folder, written by one process.
    Embedded(PathBuf),
}

impl FromStr for LogLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", folder)) if !folder.is_empty() => Ok(Self::Embedded(folder.into())),
            _ => Err(format!(
                "{text:?} is no log: write embedded:DIR, such as embedded:rechka-data"
            )),
        }
    }
}

impl LogLocation {
    /// Opens the log for reading and writing; creates it when it is not there.
    pub fn open(&self) -> Result<Arc<dyn Log>> {
        let Self::Embedded(folder) = self;
        Ok(Arc::new(
            SqliteLog::open(folder).with_context(|| format!("opening the log in {}", folder.display()))?,
        ))
    }

    /// Opens an existing log for reading, also while another process writes it.
    pub fn open_read_only(&self) -> Result<Arc<dyn Log>> {
        let Self::Embedded(folder) = self;
        let log = SqliteLog::open_read_only(folder).with_context(|| {
            format!(
                "opening the log in {} (another one? say --log embedded:DIR)",
                folder.display()
            )
        })?;
        Ok(Arc::new(log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_that_is_no_log_is_answered_with_the_right_form() {
        assert_eq!("embedded:data".parse(), Ok(LogLocation::Embedded("data".into())));
        for wrong in ["data", "embedded:", "sqlite:data", ""] {
            assert!(
                wrong.parse::<LogLocation>().unwrap_err().contains("embedded:DIR"),
                "{wrong}"
            );
        }
    }
}
