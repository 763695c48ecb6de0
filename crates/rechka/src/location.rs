//! Where the log is: the value of `--log`.
use std::{path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result};
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
    let log = KafkaLog::open(options).with_context(|| format!("connecting to Kafka at {}", options.bootstrap()))?;
    Ok(Arc::new(log))
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
