//! Refusals: what a client is told, and what it may do about it.
use thiserror::Error;

/// A hello that works, shown to whom sent one that does not.
const EXAMPLE: &str = r#"{"encoding":"pcm_s16le","rate":16000,"channels":1}"#;

/// Why a client is refused. Its text says what to do instead.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The first message is no hello.
    #[error("the first message must be a JSON hello such as {EXAMPLE}: {0}")]
    Hello(String),
    /// No hello came in time.
    #[error("no hello came within {0} seconds: send one, such as {EXAMPLE}, as the first message")]
    NoHello(u64),
    /// Encoding, rate or channels are not supported.
    #[error("{0}")]
    Format(String),
    /// The session's name has characters or a length that names must not have.
    #[error("a session's name is 1 to 64 of a-z A-Z 0-9 _ and -; leave it out to get a new one")]
    SessionName,
    /// A resumed session has another format.
    #[error("session {session} was begun as {begun}: continue it so, or begin another one")]
    FormatDiffers {
        /// The session.
        session: String,
        /// Its format.
        begun: String,
    },
    /// The session's audio comes from elsewhere.
    #[error("session {0} is written by another producer: begin one of another name")]
    Foreign(String),
    /// All places are taken.
    #[error("all {0} sessions are in use: try again in a while, or raise the limit of the server")]
    TooManySessions(usize),
    /// A message is larger than allowed.
    #[error("a message of {bytes} bytes: send at most {limit}, frame number included")]
    MessageTooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A message can't be understood.
    #[error("{0}")]
    Message(String),
    /// Audio is missing between what came and what comes.
    #[error("frames {expected} to {got} are missing: go on at frame {expected}")]
    Gap {
        /// The frame that must come next.
        expected: u64,
        /// The frame that came.
        got: u64,
    },
    /// Live audio that comes too fast to be live.
    #[error("live audio came faster than {0} times real time: say \"pace\":\"file\" in the hello to send recordings")]
    TooFast(f64),
    /// Another connection continues the session.
    #[error("another connection continues this session")]
    TakenOver,
    /// The session is complete.
    #[error("the session is complete: begin another one")]
    Ended,
    /// No sign of life.
    #[error("no sign of life for {0} seconds: reconnect with the session's name to go on")]
    Idle(u64),
    /// The log could not take the audio.
    #[error("the audio could not be stored ({0}): reconnect with the session's name to go on")]
    Storage(String),
    /// The server stops.
    #[error("the server is stopping: reconnect with the session's name to go on")]
    Stopping,
}

impl Refusal {
    /// What programs tell refusals apart by.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Hello(_) => "malformed_hello",
            Refusal::NoHello(_) => "no_hello",
            Refusal::Format(_) => "unsupported_format",
            Refusal::SessionName => "invalid_session",
            Refusal::FormatDiffers { .. } => "format_differs",
            Refusal::Foreign(_) => "foreign_session",
            Refusal::TooManySessions(_) => "too_many_sessions",
            Refusal::MessageTooLarge { .. } => "message_too_large",
            Refusal::Message(_) => "malformed_message",
            Refusal::Gap { .. } => "gap",
            Refusal::TooFast(_) => "rate_exceeded",
            Refusal::TakenOver => "taken_over",
            Refusal::Ended => "session_ended",
            Refusal::Idle(_) => "idle",
            Refusal::Storage(_) => "storage",
            Refusal::Stopping => "stopping",
        }
    }

    /// The WebSocket's close code (RFC 6455, section 7.4; from 4000 on our own).
    pub fn close_code(&self) -> u16 {
        match self {
            Refusal::Hello(_) | Refusal::Message(_) | Refusal::SessionName => 1007,
            Refusal::Format(_) | Refusal::FormatDiffers { .. } => 1003,
            Refusal::NoHello(_) | Refusal::TooFast(_) | Refusal::Foreign(_) => 1008,
            Refusal::MessageTooLarge { .. } => 1009,
            Refusal::TooManySessions(_) => 1013,
            Refusal::Storage(_) => 1011,
            Refusal::Stopping => 1012,
            Refusal::TakenOver => 4001,
            Refusal::Gap { .. } => 4002,
            Refusal::Ended => 4003,
            Refusal::Idle(_) => 4004,
        }
    }

    /// Seconds after which the same may succeed; `None`: it won't, or needs another connection at once.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::TooManySessions(_) => Some(10),
            Refusal::Storage(_) | Refusal::Stopping => Some(2),
            Refusal::Idle(_) => Some(0),
            _ => None,
        }
    }
}
