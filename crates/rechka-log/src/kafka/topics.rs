//! Topics: how they are declared in Kafka, and which there are.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::Consumer,
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::{
    admin::Admin,
    block::block_on,
    client::KafkaConsumer,
    connection::Connection,
    error::{describe, failed},
    options::KafkaOptions,
};
use crate::{Cleanup, LogError, MAX_RECORD_BYTES, Partition, Result, Retention, TopicPartition, TopicSpec};

/// Replicas of a topic, where there are as many brokers.
const REPLICAS: u16 = 3;
/// The most that a stored record may take besides its key, value and headers.
const OVERHEAD: usize = 64 << 10;
/// Kafka deletes whole segments: so many of them make up what is to be kept.
const SEGMENTS: u64 = 8;
/// Kafka's bounds of `segment.bytes`.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;
/// Bounds of `segment.ms`: not a file for every few records, and Kafka's default.
const SEGMENT_AGE: std::ops::RangeInclusive<u64> = 10_000..=7 * 24 * 3_600_000;
/// Segments of compacted topics: the one that is written to is not compacted.
const COMPACTED_SEGMENT_BYTES: &str = "67108864";
/// The pause before it is looked again whether a change has reached the brokers.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is known of a topic.
#[derive(Clone, Copy, Debug)]
struct Known {
    partitions: Partition,
    compacted: bool,
    /// Bytes of records that it takes at once.
    most_bytes: Option<usize>,
}

/// Kafka's settings of a topic.
type Settings = HashMap<String, String>;

/// A topic as it is.
struct Found {
    spec: TopicSpec,
    settings: Settings,
    /// Of the partition that has the fewest.
    replicas: usize,
    /// Every partition has a leader.
    ready: bool,
}

/// What one look at a topic gives.
enum Look {
    Found(Found),
    Absent,
    /// It is there, but no broker says how it is set.
    Undescribed,
}

/// The topics of the cluster.
pub(super) struct Topics {
    admin: Admin,
    patience: Duration,
    known: Mutex<HashMap<String, Known>>,
}

impl Topics {
    pub(super) fn new(connection: &Connection) -> Result<Self> {
        Ok(Self {
            admin: Admin::start(connection)?,
            patience: connection.options.patience(),
            known: Mutex::default(),
        })
    }

    fn request(&self) -> AdminOptions {
        let options = AdminOptions::new().request_timeout(Some(self.patience));
        options.operation_timeout(Some(self.patience))
    }

    /// Creates a topic, and returns when every broker that is asked knows it.
    pub(super) fn create(&self, lookup: &KafkaConsumer, options: &KafkaOptions, spec: &TopicSpec) -> Result<()> {
        check(spec)?;
        let wanted = options.replication_factor()?;
        if let Some(existing) = self.find(lookup, &spec.name)? {
            return same(&existing, spec, wanted, options);
        }
        let metadata = lookup.fetch_metadata(None, self.patience);
        let brokers = metadata
            .map_err(|error| failed("asking for the brokers", error))?
            .brokers()
            .len();
        let replicas = wanted.unwrap_or(REPLICAS.min(brokers as u16));
        let mut settings = settings(spec);
        if replicas >= REPLICAS {
            settings.push(("min.insync.replicas", "2".to_owned()));
        }
        settings.retain(|(name, _)| options.topic_settings().all(|(set, _)| set != *name));
        let mut topic = NewTopic::new(
            &spec.name,
            spec.partitions as i32,
            TopicReplication::Fixed(i32::from(replicas)),
        );
        let own = settings.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(options.topic_settings()) {
            topic = topic.set(name, value);
        }
        let what = format!("creating the topic {:?}", &*spec.name);
        let results = block_on(self.admin.client()?.create_topics([&topic], &self.request()));
        match results.map_err(|error| failed(&what, error))?.pop() {
            None | Some(Ok(_)) => {}
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
                // Somebody was faster.
                return match self.wait_for(lookup, &spec.name, is_ready)? {
                    Some(existing) => same(&existing, spec, wanted, options),
                    None => Ok(()),
                };
            }
            Some(Err((
                _,
                code @ (RDKafkaErrorCode::InvalidReplicationFactor
                | RDKafkaErrorCode::InvalidConfig
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::InvalidPartitions),
            ))) => {
                return Err(LogError::Invalid(format!(
                    "Kafka: {what} with {replicas} replicas: {code}"
                )));
            }
            Some(Err((_, code))) => return Err(LogError::Storage(describe(&what, code))),
        }
        self.wait_for(lookup, &spec.name, is_ready)?;
        Ok(())
    }

    /// Deletes a topic, and returns when it is gone.
    pub(super) fn delete(&self, lookup: &KafkaConsumer, name: &str) -> Result<()> {
        self.find(lookup, name)?
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))?;
        self.forget(name);
        let what = format!("deleting the topic {name:?}");
        let results = block_on(self.admin.client()?.delete_topics(&[name], &self.request()));
        if let Some(Err((_, code))) = results.map_err(|error| failed(&what, error))?.pop() {
            return Err(LogError::Storage(describe(&what, code)));
        }
        self.wait_for(lookup, name, |found| found.is_none())?;
        self.forget(name);
        Ok(())
    }

    /// Looks at a topic until it is as it should be.
    fn wait_for(
        &self,
        lookup: &KafkaConsumer,
        name: &str,
        done: impl Fn(&Option<Found>) -> bool,
    ) -> Result<Option<Found>> {
        let deadline = Instant::now() + self.patience;
        loop {
            let found = self.find(lookup, name)?;
            if done(&found) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(LogError::Storage(format!(
                    "Kafka: a change of the topic {name:?} did not reach all brokers in {} s",
                    self.patience.as_secs()
                )));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// All topics but Kafka's own, by name.
    pub(super) fn all(&self, lookup: &KafkaConsumer) -> Result<Vec<TopicSpec>> {
        let metadata = lookup.fetch_metadata(None, self.patience);
        let metadata = metadata.map_err(|error| failed("asking for the topics", error))?;
        let named = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let own = named.filter(|topic| !topic.name().starts_with("__"));
        let mut partitions: Vec<(&str, Partition)> = own
            .map(|topic| (topic.name(), topic.partitions().len() as Partition))
            .collect();
        partitions.sort_unstable();
        let described = self.describe(&partitions)?.into_iter();
        Ok(described.map(|(spec, _)| spec).collect())
    }

    /// One topic, if it exists. One that was made just now may be known to one broker, and not yet to another.
    fn find(&self, lookup: &KafkaConsumer, name: &str) -> Result<Option<Found>> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.look(lookup, name)? {
                Look::Found(found) => return Ok(Some(found)),
                Look::Absent => return Ok(None),
                Look::Undescribed if Instant::now() < deadline => thread::sleep(LOOK_AGAIN),
                Look::Undescribed => {
                    return Err(LogError::Storage(format!(
                        "Kafka does not tell the settings of the topic {name:?}: may this client ask for them (DescribeConfigs)?"
                    )));
                }
            }
        }
    }

    fn look(&self, lookup: &KafkaConsumer, name: &str) -> Result<Look> {
        let metadata = lookup.fetch_metadata(Some(name), self.patience);
        let metadata = metadata.map_err(|error| failed(&format!("asking for the topic {name:?}"), error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let denied = RDKafkaErrorCode::TopicAuthorizationFailed;
        if topic.is_some_and(|topic| {
            topic
                .error()
                .is_some_and(|error| RDKafkaErrorCode::from(error) == denied)
        }) {
            return Err(LogError::Storage(describe(
                &format!("asking for the topic {name:?}"),
                denied,
            )));
        }
        let Some(topic) = topic.filter(|topic| !topic.partitions().is_empty()) else {
            return Ok(Look::Absent);
        };
        // While a broker fails, a partition may have no leader for a moment.
        let ready = topic.error().is_none() && topic.partitions().iter().all(|partition| partition.leader() >= 0);
        let replicas = topic
            .partitions()
            .iter()
            .map(|partition| partition.replicas().len())
            .min();
        let described = self.describe(&[(name, topic.partitions().len() as Partition)])?.pop();
        Ok(described.map_or(Look::Undescribed, |(spec, settings)| {
            Look::Found(Found {
                spec,
                settings,
                replicas: replicas.unwrap_or_default(),
                ready,
            })
        }))
    }

    /// The declarations of topics that exist, and their settings.
    fn describe(&self, topics: &[(&str, Partition)]) -> Result<Vec<(TopicSpec, Settings)>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let names = topics.iter().map(|(name, _)| ResourceSpecifier::Topic(name));
        let described = block_on(
            self.admin
                .client()?
                .describe_configs(names.collect::<Vec<_>>().iter(), &self.request()),
        );
        let described = described.map_err(|error| failed("asking for the settings of topics", error))?;
        let mut specs = Vec::new();
        for ((name, partitions), settings) in topics.iter().zip(described) {
            match settings {
                // The client hides why nothing is said: the topic was deleted meanwhile, or the broker has not heard of it yet.
                Ok(settings) if settings.entries.is_empty() => {}
                Ok(settings) => {
                    let entries = settings.entries.into_iter();
                    let settings = entries.filter_map(|entry| Some((entry.name, entry.value?))).collect();
                    specs.push((spec(name, *partitions, &settings), settings));
                }
                // Deleted meanwhile.
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Err(code) => {
                    let what = format!("asking for the settings of the topic {name:?}");
                    return Err(LogError::Storage(describe(&what, code)));
                }
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (spec, settings) in &specs {
            let most_bytes = settings.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
            let topic = Known {
                partitions: spec.partitions,
                compacted: spec.cleanup == Cleanup::Compact,
                most_bytes,
            };
            known.insert(spec.name.to_string(), topic);
        }
        Ok(specs)
    }

    fn get(&self, name: &str) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).copied()
    }

    /// What was known of a topic is so no longer.
    pub(super) fn forget(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }

    /// Number of partitions of a topic, which must exist.
    pub(super) fn partitions(&self, lookup: &KafkaConsumer, name: &str) -> Result<Partition> {
        if let Some(known) = self.get(name) {
            return Ok(known.partitions);
        }
        let found = self
            .find(lookup, name)?
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))?;
        Ok(found.spec.partitions)
    }

    /// Fails if the partition does not exist.
    pub(super) fn check(&self, lookup: &KafkaConsumer, name: &TopicPartition) -> Result<()> {
        if name.partition < self.partitions(lookup, &name.topic)? {
            return Ok(());
        }
        Err(LogError::UnknownPartition {
            topic: name.topic.to_string(),
            partition: name.partition,
        })
    }

    /// Whether a topic that was checked is compacted.
    pub(super) fn is_compacted(&self, name: &str) -> bool {
        self.get(name).is_some_and(|known| known.compacted)
    }

    /// The bytes of records that a topic takes at once, looked up anew, as somebody may have changed it.
    pub(super) fn most_bytes(&self, lookup: &KafkaConsumer, name: &str) -> Option<usize> {
        // Where it can't be looked up, what was known stands.
        let _ = self.find(lookup, name);
        self.get(name)?.most_bytes
    }

    /// Deletes the records of a partition before an offset.
    pub(super) fn delete_before(&self, topic: &str, offsets: &TopicPartitionList) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            let client = self.admin.client()?;
            let deleted = block_on(client.delete_records(offsets, &self.request()));
            let deleted = deleted.and_then(|deleted| deleted.elements().iter().try_for_each(|place| place.error()));
            match deleted {
                Ok(()) => return Ok(()),
                Err(error) if has_moved(&error) && Instant::now() < deadline => {
                    // The client learns of new leaders only if it asks.
                    let _ = client.inner().fetch_metadata(Some(topic), self.patience);
                    thread::sleep(LOOK_AGAIN);
                }
                Err(error) => return Err(failed("deleting records", error)),
            }
        }
    }

    /// The settings of a broker.
    pub(super) fn broker_settings(&self, broker: i32) -> Result<HashMap<String, String>> {
        let what = format!("asking for the settings of broker {broker}");
        let broker = [ResourceSpecifier::Broker(broker)];
        let settings = block_on(self.admin.client()?.describe_configs(broker.iter(), &self.request()));
        let settings = settings.map_err(|error| failed(&what, error))?.pop();
        let settings = settings.transpose().map_err(|code| refused(&what, code))?;
        let entries = settings.into_iter().flat_map(|settings| settings.entries);
        Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }

    /// Whether somebody has set something for this group.
    pub(super) fn has_group_settings(&self, group: &str) -> bool {
        let group = [ResourceSpecifier::Group(group)];
        let Ok(client) = self.admin.client() else {
            return false;
        };
        match block_on(client.describe_configs(group.iter(), &self.request())) {
            // The library does not know settings of a group, and refuses the answer when there are some.
            Err(KafkaError::AdminOpCreation(_)) => true,
            _ => false,
        }
    }

    /// Sets times of a group, instead of all that was set for it.
    pub(super) fn set_group_settings(&self, group: &str, settings: &[(&str, Duration)]) -> Result<()> {
        let what = format!("setting the times of the group {group:?}");
        let values = settings
            .iter()
            .map(|(name, time)| (*name, time.as_millis().to_string()));
        let values: Vec<_> = values.collect();
        let mut change = AlterConfig::new(ResourceSpecifier::Group(group));
        for (name, value) in &values {
            change = change.set(name, value);
        }
        let changed = block_on(self.admin.client()?.alter_configs([&change], &self.request()));
        match changed.map_err(|error| failed(&what, error))?.pop() {
            Some(Err((_, code))) => Err(refused(&what, code)),
            None | Some(Ok(_)) => Ok(()),
        }
    }
}

/// A declaration in Kafka's words.
fn settings(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let Retention { age, bytes } = spec.retention;
    let bounded = age.is_some() || bytes.is_some();
    let cleanup = match (spec.cleanup, bounded) {
        (Cleanup::Delete, _) => "delete",
        (Cleanup::Compact, false) => "compact",
        (Cleanup::Compact, true) => "compact,delete",
    };
    let or_unbounded = |bound: Option<u64>| bound.map_or_else(|| "-1".to_owned(), |bound| bound.to_string());
    let age = age.map(|age| age.as_millis() as u64);
    let mut settings = vec![
        ("cleanup.policy", cleanup.to_owned()),
        ("retention.ms", or_unbounded(age)),
        ("retention.bytes", or_unbounded(bytes)),
        ("max.message.bytes", (MAX_RECORD_BYTES + OVERHEAD).to_string()),
        // Whether a timestamp is too far in the future is for the streams to say.
        ("message.timestamp.after.max.ms", i64::MAX.to_string()),
    ];
    let within = |bounds: std::ops::RangeInclusive<u64>, value: u64| value.clamp(*bounds.start(), *bounds.end());
    if let Some(age) = age {
        settings.push(("segment.ms", within(SEGMENT_AGE, age / SEGMENTS).to_string()));
    }
    match bytes {
        Some(bytes) => settings.push(("segment.bytes", within(SEGMENT_BYTES, bytes / SEGMENTS).to_string())),
        None if spec.cleanup == Cleanup::Compact => {
            settings.push(("segment.bytes", COMPACTED_SEGMENT_BYTES.to_owned()))
        }
        None => {}
    }
    settings
}

/// Kafka's words as a declaration.
fn spec(name: &str, partitions: Partition, settings: &Settings) -> TopicSpec {
    let value = |name| settings.get(name).map(String::as_str);
    let cleanup = value("cleanup.policy").unwrap_or("delete");
    let bound = |name| value(name).and_then(|bound| bound.parse::<u64>().ok());
    let retention = match cleanup.contains("delete") {
        true => Retention {
            age: bound("retention.ms").map(Duration::from_millis),
            bytes: bound("retention.bytes"),
        },
        false => Retention::default(),
    };
    TopicSpec {
        name: name.into(),
        partitions,
        cleanup: match cleanup.contains("compact") {
            true => Cleanup::Compact,
            false => Cleanup::Delete,
        },
        retention,
    }
}

/// Whether the broker that was asked leads the partition no longer.
fn has_moved(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable
        )
    })
}

fn refused(what: &str, code: RDKafkaErrorCode) -> LogError {
    LogError::Storage(format!("Kafka: {what}: {code}"))
}

fn is_ready(found: &Option<Found>) -> bool {
    found.as_ref().is_some_and(|found| found.ready)
}

/// The same declaration, or the difference. The number of replicas and other settings are a part of it if it is said which are wanted.
fn same(found: &Found, want: &TopicSpec, replicas: Option<u16>, options: &KafkaOptions) -> Result<()> {
    let have = &found.spec;
    let mut differences = Vec::new();
    if let Some(replicas) = replicas.filter(|replicas| found.replicas < usize::from(*replicas)) {
        differences.push(format!("{} replicas instead of {replicas}", found.replicas));
    }
    for (name, wanted) in options.topic_settings() {
        if let Some(have) = found.settings.get(name).filter(|have| *have != wanted) {
            differences.push(format!("{name} {have} instead of {wanted}"));
        }
    }
    if have.partitions != want.partitions {
        differences.push(format!("{} partitions instead of {}", have.partitions, want.partitions));
    }
    if have.cleanup != want.cleanup {
        differences.push(format!("cleanup {:?} instead of {:?}", have.cleanup, want.cleanup));
    }
    if have.retention != want.retention {
        differences.push(format!("{:?} instead of {:?}", have.retention, want.retention));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(LogError::TopicDiffers {
        topic: have.name.to_string(),
        difference: format!("it has {}", differences.join(", ")),
    })
}

/// Refuses what no topic may be.
fn check(spec: &TopicSpec) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let length = (1..=249).contains(&spec.name.len());
    if !length || !spec.name.chars().all(legal) || matches!(&*spec.name, "." | "..") {
        return Err(LogError::Invalid(format!(
            "{:.260?} is no name for a topic: use 1 to 249 of a-z A-Z 0-9 . _ -",
            &*spec.name
        )));
    }
    if spec.partitions == 0 || i32::try_from(spec.partitions).is_err() {
        let why = format!("a topic has at least one partition, not {}", spec.partitions);
        return Err(LogError::Invalid(why));
    }
    if spec
        .retention
        .age
        .is_some_and(|age| !age.subsec_nanos().is_multiple_of(1_000_000))
    {
        let why = "a retention is a whole number of milliseconds";
        return Err(LogError::Invalid(why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(settings: &str) -> KafkaOptions {
        format!("kafka://a:1?{settings}").parse().unwrap()
    }

    #[test]
    fn the_difference_of_declarations_is_told() {
        let have = Found {
            spec: TopicSpec::new("t", 2),
            settings: Settings::from([("min.insync.replicas".to_owned(), "1".to_owned())]),
            replicas: 1,
            ready: true,
        };
        let want = TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new("t", 3)
        };
        assert!(same(&have, &have.spec, None, &asked("")).is_ok());
        assert!(same(&have, &have.spec, Some(1), &asked("create.min.insync.replicas=1")).is_ok());
        let asked = asked("create.min.insync.replicas=2");
        let error = same(&have, &want, Some(3), &asked).unwrap_err().to_string();
        let difference = "1 replicas instead of 3, min.insync.replicas 1 instead of 2, 2 partitions instead of 3, cleanup Delete instead of Compact";
        assert!(error.contains(difference), "{error}");
    }

    #[test]
    fn what_is_kept_is_several_segments() {
        let small = TopicSpec {
            retention: Retention {
                age: Some(Duration::from_secs(3600)),
                bytes: Some(64 << 20),
            },
            ..TopicSpec::new("t", 1)
        };
        let settings = settings(&small);
        let value = |name| {
            settings
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("retention.ms"), Some("3600000"));
        assert_eq!(value("segment.ms"), Some("450000"));
        assert_eq!(value("segment.bytes"), Some("8388608"));
    }
}
