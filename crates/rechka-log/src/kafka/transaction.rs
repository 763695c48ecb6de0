//! A transactional producer: appends and offsets, all or nothing.
//!
//! The ladder of errors: what may succeed when asked again is asked again until a deadline; what spoils the transaction aborts
//! it, after which it may be tried anew; what spoils the producer ends it. A new producer of the same transactional id first
//! settles what the old one left open: the coordinator completes a commit that was decided and aborts everything else.
use std::{
    cell::Cell,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message, TopicPartitionList,
    client::OAuthToken,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult},
    producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig},
    types::RDKafkaErrorCode,
};

use super::{
    connection::Connection,
    error::{failed, failed_at},
    records,
};
use crate::{Append, LogError, MAX_RECORD_BYTES, Offset, Result, TopicPartition};

/// How long the client waits at once for what it asked. Shorter than a transaction may last.
const STEP: Duration = Duration::from_secs(5);
/// How often deliveries are looked after while a transaction waits for them.
const TICK: Duration = Duration::from_millis(1);
/// After this time the coordinator aborts a transaction whose producer has died. Until then it holds readers back.
const TRANSACTION_TIMEOUT_MS: &str = "10000";
/// Bytes of a request besides its one record.
const OVERHEAD: usize = 64 << 10;
/// Bytes of records that go to a partition at once, where its topic takes so many: as Kafka's clients do.
pub(super) const BATCH_BYTES: usize = 1_000_000;

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was aborted, and would be again.
    Refused(LogError),
    /// It was aborted; another time it may succeed.
    Aborted(LogError),
    /// It was aborted: the group does not know the member, or its generation.
    Fenced {
        /// The member may be one of a later generation meanwhile.
        stale: bool,
    },
    /// It was aborted: another member of the group has come under the same name.
    NameTaken,
    /// The producer can't be used any more. Nothing is committed.
    Broken(LogError),
    /// The producer can't be used any more, and whether it committed is known only when another has taken its place.
    Unknown(LogError),
}

/// What a transaction commits besides its appends: the offsets of a group.
pub(super) struct GroupOffsets<'a> {
    pub offsets: &'a TopicPartitionList,
    pub group: ConsumerGroupMetadata,
}

/// One append and whether its topic is compacted.
pub(super) struct Part<'a> {
    pub append: &'a Append,
    pub compacted: bool,
}

/// Collects what became of the records that were sent.
#[derive(Debug)]
struct Deliveries {
    connection: Connection,
    delivered: Mutex<Delivered>,
}

#[derive(Debug, Default)]
struct Delivered {
    /// By part: the offset of its first record.
    first: Vec<Option<Offset>>,
    /// By part: the offset after its last record.
    next: Vec<Offset>,
    failure: Option<(KafkaError, TopicPartition)>,
}

/// The part of a record, and whether it is the first of it.
fn opaque(part: usize, first: bool) -> usize {
    part << 1 | usize::from(first)
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.connection.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.heard(&error, reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> std::result::Result<OAuthToken, Box<dyn Error>> {
        Ok(self.connection.token()?)
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => {
                let (part, offset) = (opaque >> 1, message.offset().unsigned_abs());
                if opaque & 1 == 1
                    && let Some(first) = delivered.first.get_mut(part)
                {
                    *first = Some(offset);
                }
                if let Some(next) = delivered.next.get_mut(part) {
                    *next = offset + 1;
                }
            }
            Err((error, message)) if delivered.failure.is_none() => {
                let place = TopicPartition::new(message.topic(), message.partition().unsigned_abs());
                delivered.failure = Some((error.clone(), place));
            }
            Err(_) => {}
        }
    }
}

/// The offsets that a part got: of its first record, and the one after its last.
pub(super) type Written = std::ops::Range<Offset>;

/// A transactional producer that is ready for the next transaction.
pub(super) struct Producer {
    inner: BaseProducer<Deliveries>,
    patience: Duration,
    /// How many bytes of records go to a partition at once, or one record if that is larger.
    pub batch_bytes: usize,
    /// Where brokers have refused so many bytes at once.
    pub too_large: Cell<Option<TopicPartition>>,
    /// It must not begin another transaction: it failed, or a request of it may still be under way (a late commit or abort
    /// would hit the next transaction: see Kafka's KIP-890, which the client does not speak).
    spent: Cell<bool>,
}

impl Producer {
    /// Takes the place of any other producer with this transactional id, and settles what it left open.
    pub(super) fn open(connection: &Connection, id: &str, batch_bytes: usize) -> Result<Self> {
        let options = &connection.options;
        let mut config = options.client()?;
        let mut default = |name: &str, value: &str| {
            if options.setting(name).is_none() {
                config.set(name, value);
            }
        };
        default("compression.codec", "lz4");
        default("linger.ms", "1");
        default("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        default("message.max.bytes", &(MAX_RECORD_BYTES + OVERHEAD).to_string());
        config.set("transactional.id", id);
        config.set("batch.size", batch_bytes.to_string());
        let deliveries = Deliveries {
            connection: connection.clone(),
            delivered: Mutex::default(),
        };
        let inner = BaseProducer::from_config_and_context(&config, deliveries)
            .map_err(|error| failed("starting a producer", error))?;
        // Gives it its first token, if it needs one.
        inner.poll(Duration::ZERO);
        let producer = Self {
            inner,
            patience: options.patience(),
            batch_bytes,
            too_large: Cell::new(None),
            spent: Cell::new(false),
        };
        let begun = producer.insist(|producer| producer.init_transactions(STEP));
        begun.map_err(|error| failed(&format!("beginning transactions at {}", options.bootstrap()), error))?;
        producer.spent.set(false);
        Ok(producer)
    }

    /// Whether another producer must take its place.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// Writes the parts and commits the offsets in one transaction. `may_commit` is asked at the last moment.
    /// Returns where each part went.
    pub(super) fn transact(
        &self,
        parts: &[Part<'_>],
        offsets: Option<GroupOffsets<'_>>,
        may_commit: impl Fn() -> bool,
    ) -> std::result::Result<Vec<Written>, Failure> {
        *self.delivered() = Delivered {
            first: vec![None; parts.len()],
            next: vec![0; parts.len()],
            failure: None,
        };
        // What it heard since the last one, such as that its token has to be renewed.
        self.inner.poll(Duration::ZERO);
        self.inner.begin_transaction().map_err(|error| {
            self.spent.set(true);
            Failure::Broken(failed("beginning a transaction", error))
        })?;
        let deadline = Instant::now() + self.patience;
        for (index, part) in parts.iter().enumerate() {
            self.send(index, part, deadline)
                .map_err(|failure| self.abort(failure))?;
        }
        if let Some(GroupOffsets { offsets, group }) = &offsets {
            let sent = self.insist(|producer| producer.send_offsets_to_transaction(offsets, group, STEP));
            sent.map_err(|error| self.abort(failure("committing offsets", error)))?;
        }
        self.await_deliveries(deadline).map_err(|failure| self.abort(failure))?;
        if !may_commit() {
            return Err(self.abort(Failure::Fenced { stale: false }));
        }
        match self.insist(|producer| producer.commit_transaction(STEP)) {
            Ok(()) => {}
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                return Err(self.abort(failure("committing", KafkaError::Transaction(error))));
            }
            Err(error) => {
                self.spent.set(true);
                return Err(Failure::Unknown(failed("committing", error)));
            }
        }
        Ok(self.last_delivered())
    }

    /// Where the parts of the last transaction went, whether it was committed or not.
    pub(super) fn last_delivered(&self) -> Vec<Written> {
        let delivered = self.delivered();
        let written = delivered.first.iter().zip(&delivered.next);
        written.map(|(first, next)| first.unwrap_or(*next)..*next).collect()
    }

    fn send(&self, index: usize, part: &Part<'_>, deadline: Instant) -> std::result::Result<(), Failure> {
        let Append { to, batch } = part.append;
        for (number, record) in batch.iter().enumerate() {
            let mut record = records::encode(to, &record, part.compacted, opaque(index, number == 0));
            loop {
                match self.inner.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        if Instant::now() > deadline {
                            let why = format!("Kafka took nothing for {} s", self.patience.as_secs());
                            return Err(Failure::Aborted(LogError::Storage(why)));
                        }
                        record = back;
                        self.inner.poll(TICK);
                    }
                    Err((error, _)) => return Err(undelivered(error, to)),
                }
            }
        }
        Ok(())
    }

    fn await_deliveries(&self, deadline: Instant) -> std::result::Result<(), Failure> {
        while self.inner.in_flight_count() > 0 && self.delivered().failure.is_none() {
            if Instant::now() > deadline {
                let why = format!("Kafka acknowledged nothing for {} s", self.patience.as_secs());
                return Err(Failure::Aborted(LogError::Storage(why)));
            }
            self.inner.poll(TICK);
        }
        match self.delivered().failure.take() {
            None => Ok(()),
            Some((error, to)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                    self.too_large.set(Some(to.clone()));
                }
                Err(undelivered(error, &to))
            }
        }
    }

    /// Aborts the transaction because of `failure`, and says what is to be thought of it then.
    fn abort(&self, failure: Failure) -> Failure {
        // The client waits for the deliveries of what it drops, which have to be taken.
        self.inner.purge(PurgeConfig::default().queue().inflight());
        let deadline = Instant::now() + self.patience;
        while self.inner.in_flight_count() > 0 && Instant::now() < deadline {
            self.inner.poll(TICK);
        }
        match self.insist(|producer| producer.abort_transaction(STEP)) {
            Ok(()) => failure,
            Err(error) => {
                self.spent.set(true);
                match failure {
                    Failure::Refused(_) | Failure::Fenced { .. } | Failure::NameTaken => failure,
                    _ => Failure::Broken(failed("aborting a transaction", error)),
                }
            }
        }
    }

    /// Asks again, as long as the client says that this may help.
    fn insist(&self, request: impl Fn(&BaseProducer<Deliveries>) -> KafkaResult<()>) -> KafkaResult<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            match request(&self.inner) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                    self.spent.set(true);
                    // Serves what else the client has to tell, and does not turn in circles.
                    self.inner.poll(Duration::from_millis(10));
                }
                result => return result,
            }
        }
    }

    fn delivered(&self) -> std::sync::MutexGuard<'_, Delivered> {
        let context: &Arc<Deliveries> = self.inner.client().context();
        context.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be thought of a transaction's error, if the abort succeeds.
fn failure(what: &str, error: KafkaError) -> Failure {
    use RDKafkaErrorCode::{FencedInstanceId, IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    match &error {
        KafkaError::Transaction(fatal) if fatal.is_fatal() => Failure::Broken(failed(what, error)),
        _ => match error.rdkafka_error_code() {
            Some(UnknownMemberId) => Failure::Fenced { stale: false },
            Some(FencedInstanceId) => Failure::NameTaken,
            Some(IllegalGeneration | RebalanceInProgress) => Failure::Fenced { stale: true },
            _ => Failure::Aborted(failed(what, error)),
        },
    }
}

/// The same for a record that could not be delivered.
fn undelivered(error: KafkaError, to: &TopicPartition) -> Failure {
    use RDKafkaErrorCode::{
        InvalidMessage, InvalidMessageSize, InvalidRecord, InvalidTimestamp, MessageSizeTooLarge, PolicyViolation,
        TopicAuthorizationFailed, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    match error.rdkafka_error_code() {
        Some(
            InvalidMessage
            | InvalidMessageSize
            | InvalidRecord
            | InvalidTimestamp
            | MessageSizeTooLarge
            | PolicyViolation
            | TopicAuthorizationFailed
            | UnknownPartition
            | UnknownTopic
            | UnknownTopicOrPartition,
        ) => Failure::Refused(failed_at(to, "writing to", error)),
        _ => Failure::Aborted(failed_at(to, "writing to", error)),
    }
}
