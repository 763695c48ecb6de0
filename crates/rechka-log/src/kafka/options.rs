//! Where a Kafka cluster is, and how to talk to it: `kafka://host:port,host:port?setting=value&setting=value`.
use std::{collections::BTreeMap, env, fs, str::FromStr, time::Duration};

use rdkafka::{ClientConfig, error::KafkaError};

use super::security;
use crate::{LogError, Result};

/// Settings that hold secrets: never written out in a location, which is seen in lists of processes and in logs.
const SECRETS: &[&str] = &["password", "secret", "key.pem", TOKEN];
/// Where the token of a client is.
pub(super) const TOKEN: &str = "sasl.oauthbearer.token";
/// Settings on which the log's promises rest.
const OWN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.remote.assignor",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "transactional.id",
];
/// Settings of members of groups alone.
const MEMBERS: &[&str] = &[
    "group.protocol",
    "heartbeat.interval.ms",
    MAX_POLL_INTERVAL,
    "session.timeout.ms",
];
/// Prefix of settings of the topics that are created.
const CREATE: &str = "create.";
/// How long an operation is tried again before it fails.
const PATIENCE: &str = "default.api.timeout.ms";
/// How long a member may go without a poll before its partitions go to others.
const MAX_POLL_INTERVAL: &str = "max.poll.interval.ms";
/// How many replicas a created topic has.
const REPLICATION_FACTOR: &str = "replication.factor";

/// A Kafka cluster and how to talk to it, parsed from
/// `kafka://host:port,host:port?setting=value&setting=value`.
///
/// Settings are those of librdkafka (`security.protocol`, `sasl.username`, …), and
/// - `create.NAME`: a setting of the topics that are created, such as `create.replication.factor` (3, or as many as there are
///   brokers) and `create.min.insync.replicas` (2, if there are three replicas);
/// - `default.api.timeout.ms`: how long an operation is tried again before it fails (30,000);
/// - `sasl.oauthbearer.token`: the token of `sasl.mechanism=OAUTHBEARER`, read anew whenever the last one is about to expire.
///
/// Where SASL is set, `security.protocol` is `SASL_SSL` if nothing else is said; where TLS is set, `SSL`.
///
/// A value that begins with `$` is taken from the environment variable of that name, one that begins with `@` from that file,
/// both when a client is started. Secrets can only be given so; therefore this type may be shown and logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOptions {
    bootstrap: String,
    settings: BTreeMap<String, String>,
    create: BTreeMap<String, String>,
    patience: Duration,
    max_poll_interval: Duration,
}

impl FromStr for KafkaOptions {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("kafka://") else {
            return Err(invalid(format!(
                "{text:?} is no Kafka cluster: write kafka://HOST:PORT,HOST:PORT"
            )));
        };
        let (addresses, query) = rest.split_once('?').unwrap_or((rest, ""));
        for address in addresses.split(',') {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
                return Err(invalid(format!(
                    "{address:?} is no address of a broker: write HOST:PORT, such as localhost:9092"
                )));
            }
        }
        let mut options = Self {
            bootstrap: addresses.to_owned(),
            settings: BTreeMap::new(),
            create: BTreeMap::new(),
            patience: Duration::from_secs(30),
            // As in Kafka's own clients.
            max_poll_interval: Duration::from_mins(5),
        };
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            let Some((name, value)) = setting.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(invalid(format!("{setting:?} is no setting: write NAME=VALUE")));
            };
            options.set(name, value)?;
        }
        security::check(&options.settings)?;
        Ok(options)
    }
}

impl KafkaOptions {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if SECRETS.iter().any(|secret| name.ends_with(secret)) && !value.starts_with(['$', '@']) {
            return Err(invalid(format!(
                "{name} is a secret: write {name}=$VARIABLE to take it from the environment, or {name}=@FILE"
            )));
        }
        if OWN.contains(&name) {
            return Err(invalid(format!("{name} can't be set: the log's promises rest on it")));
        }
        let milliseconds = || match value.parse() {
            Ok(milliseconds @ 1..) => Ok(Duration::from_millis(milliseconds)),
            _ => Err(invalid(format!("{name}={value}: write a number of milliseconds"))),
        };
        let before = if name == PATIENCE {
            self.patience = milliseconds()?;
            None
        } else if let Some(name) = name.strip_prefix(CREATE) {
            self.create.insert(name.to_owned(), value.to_owned())
        } else {
            if name == MAX_POLL_INTERVAL {
                self.max_poll_interval = milliseconds()?;
            }
            self.settings.insert(name.to_owned(), value.to_owned())
        };
        match before {
            None => Ok(()),
            Some(_) => Err(invalid(format!("{name} is set twice"))),
        }
    }

    /// The brokers to begin with: `host:port,host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How long an operation is tried again before it fails.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn max_poll_interval(&self) -> Duration {
        self.max_poll_interval
    }

    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Where the client's token is, if it has one.
    pub(super) fn token_source(&self) -> Option<&str> {
        self.setting(TOKEN)
    }

    /// What to look at when the brokers refuse who the client says it is.
    pub(super) fn advice(&self) -> String {
        security::advice(&self.settings)
    }

    /// How many replicas a created topic is to have, if that is said.
    pub(super) fn replication_factor(&self) -> Result<Option<u16>> {
        let factor = self.create.get(REPLICATION_FACTOR).map(|factor| match factor.parse() {
            Ok(factor @ 1..) => Ok(factor),
            _ => Err(invalid(format!(
                "{CREATE}{REPLICATION_FACTOR}={factor}: write a number from 1"
            ))),
        });
        factor.transpose()
    }

    /// The other settings of created topics.
    pub(super) fn topic_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let settings = self.create.iter().filter(|(name, _)| *name != REPLICATION_FACTOR);
        settings.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The settings of members of groups alone.
    pub(super) fn membership(&self) -> impl Iterator<Item = (&str, &str)> {
        MEMBERS.iter().filter_map(|name| Some((*name, self.setting(name)?)))
    }

    /// The settings of every client, with what stands in the environment and in files.
    pub(super) fn client(&self) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        // What suits us better than librdkafka's defaults; all of it can be set otherwise.
        config.set("client.id", "rechka");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("socket.keepalive.enable", "true");
        for (name, value) in security::defaults(&self.settings) {
            config.set(name, value);
        }
        for (name, value) in &self.settings {
            if !MEMBERS.contains(&name.as_str()) && name != TOKEN {
                config.set(name, resolve(name, value)?);
            }
        }
        config.set("bootstrap.servers", &self.bootstrap);
        self.check(&config)?;
        Ok(config)
    }

    /// Refuses a setting that the client does not know or take, without showing what came from elsewhere.
    fn check(&self, config: &ClientConfig) -> Result<()> {
        let Err(error) = config.create_native_config() else {
            return Ok(());
        };
        let KafkaError::ClientConfig(_, why, name, value) = error else {
            return Err(invalid(error.to_string()));
        };
        Err(match self.setting(&name) {
            Some(source) if source.starts_with(['$', '@']) => {
                invalid(format!("{name}={source}: {}", why.replace(&value, "…")))
            }
            _ => invalid(format!("{name}={value}: {why}")),
        })
    }
}

/// The value, from where it is.
pub(super) fn resolve(name: &str, value: &str) -> Result<String> {
    if let Some(variable) = value.strip_prefix('$') {
        return env::var(variable).map_err(|_| {
            invalid(format!(
                "{name} is to come from the environment variable {variable}: set it"
            ))
        });
    }
    if let Some(file) = value.strip_prefix('@') {
        let text = fs::read_to_string(file)
            .map_err(|error| invalid(format!("{name} is to come from the file {file}: {error}")))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(value.to_owned())
}

fn invalid(why: String) -> LogError {
    LogError::Invalid(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<KafkaOptions>().unwrap_err().to_string()
    }

    #[test]
    fn a_location_names_brokers_and_settings() {
        let options: KafkaOptions =
            "kafka://one:9092,[::1]:9093?client.id=me&create.replication.factor=2&create.segment.ms=9&default.api.timeout.ms=500"
                .parse()
                .unwrap();
        assert_eq!(options.bootstrap(), "one:9092,[::1]:9093");
        assert_eq!(options.setting("client.id"), Some("me"));
        assert_eq!(options.replication_factor().unwrap(), Some(2));
        assert_eq!(options.topic_settings().collect::<Vec<_>>(), [("segment.ms", "9")]);
        assert_eq!(options.patience(), Duration::from_millis(500));
        let config = options.client().unwrap();
        assert_eq!(config.get("client.id"), Some("me"));
        assert_eq!(config.get("bootstrap.servers"), Some("one:9092,[::1]:9093"));
    }

    #[test]
    fn a_wrong_location_is_answered_with_the_right_form() {
        for (wrong, answer) in [
            ("localhost:9092", "write kafka://HOST:PORT"),
            ("kafka://", "write HOST:PORT"),
            ("kafka://localhost", "write HOST:PORT"),
            ("kafka://localhost:0", "write HOST:PORT"),
            ("kafka://a:1,,b:2", "write HOST:PORT"),
            ("kafka://a:1?x", "write NAME=VALUE"),
            ("kafka://a:1?client.id=a&client.id=b", "client.id is set twice"),
            ("kafka://a:1?isolation.level=read_uncommitted", "can't be set"),
            ("kafka://a:1?default.api.timeout.ms=soon", "milliseconds"),
        ] {
            assert!(error(wrong).contains(answer), "{wrong}: {}", error(wrong));
        }
    }

    #[test]
    fn secrets_come_from_the_environment_or_a_file_and_are_not_shown() {
        let refused = error("kafka://a:1?sasl.password=hunter2");
        assert!(
            refused.contains("sasl.password=$VARIABLE") && !refused.contains("hunter2"),
            "{refused}"
        );
        let refused = error("kafka://a:1?sasl.mechanism=OAUTHBEARER&sasl.oauthbearer.token=hunter2");
        assert!(refused.contains("@FILE") && !refused.contains("hunter2"), "{refused}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "hunter2\n").unwrap();
        let location = format!(
            "kafka://a:1?sasl.mechanism=PLAIN&sasl.username=me&sasl.password=@{}",
            file.display()
        );
        let options: KafkaOptions = location.parse().unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
        assert_eq!(options.client().unwrap().get("sasl.password"), Some("hunter2"));
        // Not even where it was taken for something else.
        let wrong: KafkaOptions = format!("kafka://a:1?security.protocol=@{}", file.display())
            .parse()
            .unwrap();
        let refused = wrong.client().unwrap_err().to_string();
        assert!(
            refused.contains("security.protocol=@") && !refused.contains("hunter2"),
            "{refused}"
        );
        fs::remove_file(&file).unwrap();
        assert!(options.client().unwrap_err().to_string().contains("the file"));
        let options: KafkaOptions = "kafka://a:1?ssl.key.password=$RECHKA_NO_SUCH_VARIABLE".parse().unwrap();
        assert!(
            options
                .client()
                .unwrap_err()
                .to_string()
                .contains("RECHKA_NO_SUCH_VARIABLE: set it")
        );
    }
}
