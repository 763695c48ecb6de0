//! What all clients have in common: their settings, and where what they say goes.
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::KafkaError,
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};

use super::{error::failed, options::KafkaOptions};
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
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Raised when there is something to poll.
    pub signal: Arc<Signal>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// What it last complained about.
    trouble: Mutex<Option<String>>,
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

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        // It tries again by itself; what concerns a request is told by the request.
        tracing::debug!(%error, reason, "Kafka consumer");
        // That all brokers are down says less than why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
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
pub(super) fn consumer(options: &KafkaOptions, group: &str, settings: &[(&str, &str)]) -> Result<KafkaConsumer> {
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
    config.set("auto.offset.reset", "earliest");
    config.set("allow.auto.create.topics", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let listener = Listener::default();
    let signal = Arc::clone(&listener.signal);
    let mut consumer = BaseConsumer::from_config_and_context(&config, listener)
        .map_err(|error| failed("starting a consumer", error))?;
    consumer.set_nonempty_callback(move || signal.raise());
    Ok(consumer)
}
