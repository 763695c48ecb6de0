//! The client that asks for topics and their settings.
use std::{
    ffi::{CString, c_char},
    ptr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    admin::AdminClient,
    bindings::rd_kafka_oauthbearer_set_token,
    client::{DefaultClientContext, OAuthToken},
    config::RDKafkaLogLevel,
};

use super::{connection::Connection, error::failed};
use crate::{LogError, Result};

/// A token is renewed when so much of the time is left that it was to live for.
const LEFT: f64 = 0.3;

/// An administrative client with its token.
pub(super) struct Admin {
    client: AdminClient<DefaultClientContext>,
    connection: Connection,
    /// When the token has to be renewed.
    renewal: Mutex<Option<Instant>>,
}

impl Admin {
    pub(super) fn start(connection: &Connection) -> Result<Self> {
        let mut config = connection.options.client()?;
        // Nobody would ever take what it has to tell.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        Ok(Self {
            client: config
                .create()
                .map_err(|error| failed("starting an administrative client", error))?,
            connection: connection.clone(),
            renewal: Mutex::default(),
        })
    }

    /// The client, with a token that is good for a while.
    pub(super) fn client(&self) -> Result<&AdminClient<DefaultClientContext>> {
        if self.connection.options.token_source().is_some() {
            let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
            if renewal.is_none_or(|renewal| renewal <= Instant::now()) {
                let token = self
                    .connection
                    .token()
                    .map_err(|error| LogError::Storage(error.to_string()))?;
                *renewal = Some(self.give(token)?);
            }
        }
        Ok(&self.client)
    }

    /// Gives the client a token; returns when it has to be renewed. Other clients are asked for one when they are polled, but
    /// this one never polls where they are asked.
    fn give(&self, token: OAuthToken) -> Result<Instant> {
        let unusable = |_| LogError::Invalid("a token has a zero byte".to_owned());
        let text = CString::new(token.token).map_err(unusable)?;
        let principal = CString::new(token.principal_name).map_err(unusable)?;
        let mut why: [c_char; 256] = [0; 256];
        // SAFETY: the client lives as long as `self`; the strings and the buffer live until the call returns, and it copies
        // what it keeps. There are no extensions, which a null pointer and their number 0 say.
        #[allow(unsafe_code)]
        let code = unsafe {
            rd_kafka_oauthbearer_set_token(
                self.client.inner().native_ptr(),
                text.as_ptr(),
                token.lifetime_ms,
                principal.as_ptr(),
                ptr::null_mut(),
                0,
                why.as_mut_ptr(),
                why.len(),
            )
        };
        if code as i32 != 0 {
            return Err(LogError::Storage(format!(
                "Kafka's client does not take the token: {code:?}"
            )));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(token.lifetime_ms.unsigned_abs()).saturating_sub(now);
        Ok(Instant::now() + left.mul_f64(1.0 - LEFT))
    }
}
