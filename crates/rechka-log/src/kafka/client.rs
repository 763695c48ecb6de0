//! Consumers: their settings, and what they hear from their group.
use std::{
    collections::VecDeque,
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    client::OAuthToken,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::KafkaError,
    types::RDKafkaRespErr,
};

use super::{connection::Connection, error::failed};
use crate::{Result, signal::Signal};

/// How long the broker holds a fetch back while there is nothing to give: so long may it take to learn that the end is reached.
const FETCH_WAIT_MS: &str = "100";

/// A consumer whose rebalances are told, not acted upon.
pub(super) type KafkaConsumer = BaseConsumer<Listener>;

/// What the group wants of a member.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// Hears what a consumer's client has to say.
#[derive(Debug)]
pub(super) struct Listener {
    connection: Connection,
    /// Raised when there is something to poll.
    pub signal: Arc<Signal>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// How much it has heard.
    heard: AtomicU64,
    /// The consumer is being dropped: it lets go of everything at once.
    closing: AtomicBool,
}

impl Listener {
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        let mut rebalances = self.rebalances.lock().unwrap_or_else(PoisonError::into_inner);
        rebalances.pop_front()
    }

    /// What could not be done now is the next again.
    pub(super) fn put_back(&self, rebalance: Rebalance) {
        let mut rebalances = self.rebalances.lock().unwrap_or_else(PoisonError::into_inner);
        rebalances.push_front(rebalance);
    }

    /// Grows with everything that the client has to say besides records.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Listener {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.connection.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.connection.heard(&error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> std::result::Result<OAuthToken, Box<dyn Error>> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        Ok(self.connection.token()?)
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let _ = match assigned {
                true => accept(consumer, &TopicPartitionList::new()),
                false => release(consumer, partitions),
            };
            return;
        }
        let rebalance = match assigned {
            true => Rebalance::Assign(partitions.clone()),
            false => Rebalance::Revoke(partitions.clone()),
        };
        let mut rebalances = self.rebalances.lock().unwrap_or_else(PoisonError::into_inner);
        rebalances.push_back(rebalance);
    }
}

/// Takes what the group assigned.
pub(super) fn accept(consumer: &KafkaConsumer, partitions: &TopicPartitionList) -> Result<()> {
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        _ => consumer.assign(partitions),
    };
    done.map_err(|error| failed("taking partitions", error))
}

/// Lets go of what the group revoked.
pub(super) fn release(consumer: &KafkaConsumer, partitions: &TopicPartitionList) -> Result<()> {
    let done = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        _ => consumer.unassign(),
    };
    done.map_err(|error| failed("letting partitions go", error))
}

/// A consumer of committed records only.
pub(super) fn consumer(connection: &Connection, group: &str, settings: &[(&str, &str)]) -> Result<KafkaConsumer> {
    let options = &connection.options;
    let mut config = options.client()?;
    let mut default = |name: &str, value: &str| {
        if options.setting(name).is_none() {
            config.set(name, value);
        }
    };
    default("fetch.wait.max.ms", FETCH_WAIT_MS);
    // Per partition: what is read ahead.
    default("queued.max.messages.kbytes", "8192");
    default("fetch.queue.backoff.ms", "10");
    config.set("group.id", group);
    config.set("isolation.level", "read_committed");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    // A position before the start moves on to it; one behind the end is noticed by `stream.rs`.
    config.set("auto.offset.reset", "earliest");
    config.set("allow.auto.create.topics", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let listener = Listener {
        connection: connection.clone(),
        signal: Arc::default(),
        rebalances: Mutex::default(),
        heard: AtomicU64::new(0),
        closing: AtomicBool::new(false),
    };
    let signal = Arc::clone(&listener.signal);
    let mut consumer = BaseConsumer::from_config_and_context(&config, listener)
        .map_err(|error| failed("starting a consumer", error))?;
    consumer.set_nonempty_callback(move || signal.raise());
    if options.token_source().is_some() {
        // Gives it its first token, without which nothing that it is asked can be answered.
        let _ = consumer.poll(Duration::ZERO);
    }
    Ok(consumer)
}
