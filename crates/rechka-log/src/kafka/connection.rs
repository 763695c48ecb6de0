//! What all clients have in common: how they reach the cluster, and where goes what they have to say of it.
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rdkafka::{client::OAuthToken, config::RDKafkaLogLevel, error::KafkaError, types::RDKafkaErrorCode};

use super::{options::KafkaOptions, token};
use crate::{LogError, Result};

/// What brokers miss that refuse a connection for want of a certificate.
const CERTIFICATE: &str = "say who this client is by ssl.certificate.location and ssl.key.location";

/// Shared by all clients of a log.
#[derive(Clone)]
pub(super) struct Connection {
    pub options: Arc<KafkaOptions>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What a client last complained about.
    trouble: Option<Trouble>,
    /// Since when no broker answers, and what came instead.
    silent: Option<(Instant, KafkaError)>,
}

/// What is wrong with the connections to the brokers.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub reason: String,
    /// The brokers have refused who the client says it is: asking again does not help.
    pub refused: bool,
}

impl Connection {
    pub(super) fn new(options: KafkaOptions) -> Self {
        Self {
            options: Arc::new(options),
            state: Arc::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has an error to tell. It tries again by itself; what concerns a request is told by the request.
    pub(super) fn heard(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's client");
        let code = error.rdkafka_error_code();
        // That all brokers are down says less than why.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.state().trouble = Some(Trouble {
                reason: reason.to_owned(),
                refused: code == Some(RDKafkaErrorCode::Authentication),
            });
        }
    }

    /// A line of a client's own log. What matters of it is heard as an error too, so it need not be said twice.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match (level, facility) {
            (_, "CONFWARN") => tracing::warn!(target: "librdkafka", facility, "{text}"),
            _ => tracing::debug!(target: "librdkafka", ?level, facility, "{text}"),
        }
    }

    /// The token that says who this client is.
    pub(super) fn token(&self) -> Result<OAuthToken> {
        token::read(self.options.token_source().unwrap_or_default())
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.state().trouble.clone()
    }

    /// A broker has answered.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.trouble = None;
        if let Some((since, _)) = state.silent.take() {
            let seconds = since.elapsed().as_secs_f32();
            tracing::warn!(
                "Kafka at {} answers again, after {seconds:.1} s",
                self.options.bootstrap()
            );
        }
    }

    /// No broker has answered. Said once, until one answers again.
    pub(super) fn silent(&self, error: KafkaError) {
        let mut state = self.state();
        if state.silent.is_none() {
            state.silent = Some((Instant::now(), error.clone()));
            drop(state);
            tracing::warn!("{}; waiting", self.no_answer(&error));
        }
    }

    /// What to say of a cluster that does not answer.
    pub(super) fn no_answer(&self, error: &KafkaError) -> String {
        let bootstrap = self.options.bootstrap();
        match self.trouble() {
            Some(Trouble { reason, refused: true }) => {
                let advice = self.options.advice();
                format!("Kafka at {bootstrap} refuses this client: {reason}: {advice}")
            }
            Some(Trouble { reason, .. }) => {
                match reason.contains("alert bad certificate") || reason.contains("alert certificate required") {
                    true => format!("Kafka at {bootstrap} refuses this client: {reason}: {CERTIFICATE}"),
                    false => format!("no broker of Kafka answers at {bootstrap}: {reason}"),
                }
            }
            // One that wants TLS hangs up without a word.
            None => format!(
                "no broker of Kafka answers at {bootstrap}: {error}: is the port right, and security.protocol what it wants?"
            ),
        }
    }

    /// Whether brokers answer, as far as it is known.
    pub(super) fn ready(&self) -> Result<()> {
        let Some((since, error)) = self.state().silent.clone() else {
            return Ok(());
        };
        let (why, seconds) = (self.no_answer(&error), since.elapsed().as_secs());
        Err(LogError::Storage(format!("{why} (for {seconds} s)")))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connection").field(&self.options).finish()
    }
}
