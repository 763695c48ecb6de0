//! Messages in text.
use rechka_types::{Partial, Transcript};
use serde::{Deserialize, Serialize};

use super::Refusal;

/// What a client may say after its hello, beside audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// The session is complete.
    End,
}

impl ClientMessage {
    /// Reads a message.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        serde_json::from_str(text).map_err(|_| {
            Refusal::Message("after the hello send audio in binary messages, or {\"type\":\"end\"}".into())
        })
    }
}

/// What the server says.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// The session is open.
    Ready {
        /// Its name, to continue it with.
        session: &'a str,
        /// The first frame to send.
        next_frame: u64,
        /// The session is complete already: only its segments will come.
        ended: bool,
        /// The model that listens.
        model: &'a str,
        /// Largest binary message.
        message_bytes: usize,
        /// Bytes that may be on their way without acknowledgement before the server stops reading.
        window_bytes: u64,
    },
    /// Everything before `frame` is durable.
    Ack {
        /// The first frame that is not.
        frame: u64,
    },
    /// The open segment as it is understood now.
    Partial(&'a Partial),
    /// A segment that will not change.
    Final(&'a Transcript),
    /// All segments of the session are out.
    End {
        /// Length of the session.
        seconds: f64,
    },
    /// A refusal; the connection is closed after it.
    Error {
        /// What programs tell refusals apart by.
        code: &'static str,
        /// What people read.
        message: &'a str,
        /// Seconds after which the same may succeed.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
}

impl ServerMessage<'_> {
    /// As JSON.
    pub fn to_json(&self) -> String {
        // Strings, numbers and structs always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_type_beside_their_fields() {
        assert_eq!(ServerMessage::Ack { frame: 7 }.to_json(), r#"{"type":"ack","frame":7}"#);
        let partial = Partial {
            session: "s".into(),
            segment: 1,
            start: 0.5,
            end: 2.0,
            committed: "one".into(),
            tentative: "two".into(),
        };
        assert_eq!(
            ServerMessage::Partial(&partial).to_json(),
            r#"{"type":"partial","session":"s","segment":1,"start":0.5,"end":2.0,"committed":"one","tentative":"two"}"#
        );
    }

    #[test]
    fn only_known_messages_are_understood() {
        assert_eq!(ClientMessage::parse(r#"{"type":"end"}"#), Ok(ClientMessage::End));
        for text in ["", "end", r#"{"type":"stop"}"#, r#"{"end":true}"#] {
            assert_eq!(ClientMessage::parse(text).unwrap_err().code(), "malformed_message");
        }
    }
}
