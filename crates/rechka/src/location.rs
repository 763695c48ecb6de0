//! Where the log is: the value of `--log`.
use std::{ffi::OsStr, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result};
use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{Error, ErrorKind},
};
#[cfg(feature = "kafka")]
use rechka_log::{KafkaLog, KafkaOptions};
use rechka_log::{Log, SqliteLog};

/// The value of `--log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLocation {
    /// `embedded:DIR`: one SQLite file in a folder, written by one process.
    Embedded(PathBuf),
    /// `kafka://HOST:PORT,…?setting=value&…`: a cluster.
    #[cfg(feature = "kafka")]
    Kafka(KafkaOptions),
}

/// Reads the value of `--log`, and does not repeat it when it is wrong: it may hold what should be secret.
#[derive(Clone)]
pub struct LocationParser;

impl TypedValueParser for LocationParser {
    type Value = LogLocation;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<LogLocation, Error> {
        let parsed = value.to_str().ok_or_else(|| "it is no UTF-8".to_owned());
        parsed.and_then(str::parse).map_err(|why| {
            let why = format!("--log: {why}\n");
            Error::raw(ErrorKind::ValueValidation, why).with_cmd(command)
        })
    }
}

impl FromStr for LogLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", folder)) if !folder.is_empty() => Ok(Self::Embedded(folder.into())),
            #[cfg(feature = "kafka")]
            Some(("kafka", _)) => text
                .parse()
                .map(Self::Kafka)
                .map_err(|error: rechka_log::LogError| error.to_string()),
            #[cfg(not(feature = "kafka"))]
            Some(("kafka", _)) => Err(
                "this rechka was built without Kafka: build it by cargo build --release --features kafka".to_owned(),
            ),
            _ => Err(format!(
                "{text:?} is no log: write embedded:DIR, such as embedded:rechka-data, or kafka://HOST:PORT,HOST:PORT"
            )),
        }
    }
}

impl LogLocation {
    /// Opens the log for reading and writing; creates an embedded one when it is not there.
    pub fn open(&self) -> Result<Arc<dyn Log>> {
        match self {
            Self::Embedded(folder) => Ok(Arc::new(
                SqliteLog::open(folder).with_context(|| format!("opening the log in {}", folder.display()))?,
            )),
            #[cfg(feature = "kafka")]
            Self::Kafka(options) => connect(options),
        }
    }

    /// Whether several processes may work on it.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Self::Embedded(_))
    }

    /// Opens an existing log for reading, also while another process writes it.
    pub fn open_read_only(&self) -> Result<Arc<dyn Log>> {
        match self {
            Self::Embedded(folder) => {
                let log = SqliteLog::open_read_only(folder).with_context(|| {
                    format!(
                        "opening the log in {} (another one? say --log embedded:DIR)",
                        folder.display()
                    )
                })?;
                Ok(Arc::new(log))
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(options) => connect(options),
        }
    }
}

#[cfg(feature = "kafka")]
fn connect(options: &KafkaOptions) -> Result<Arc<dyn Log>> {
    Ok(Arc::new(KafkaLog::open(options)?))
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

    #[cfg(feature = "kafka")]
    #[test]
    fn a_wrong_location_is_not_repeated() {
        let wrong = OsStr::new("kafka://a:1?sasl.mechanism=PLAIN&sasl.password=hunter2");
        let error = LocationParser
            .parse_ref(&Command::new("rechka"), None, wrong)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sasl.password=$VARIABLE") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn a_cluster_has_addresses() {
        assert!(matches!("kafka://localhost:9092".parse(), Ok(LogLocation::Kafka(_))));
        let error = "kafka://localhost".parse::<LogLocation>().unwrap_err();
        assert!(error.contains("HOST:PORT"), "{error}");
    }

    #[cfg(not(feature = "kafka"))]
    #[test]
    fn without_kafka_it_is_said_how_to_have_it() {
        let error = "kafka://localhost:9092".parse::<LogLocation>().unwrap_err();
        assert!(error.contains("--features kafka"), "{error}");
    }
}
