//! The gateway: sound comes in over WebSocket, captions go out, over the log alone.
//!
//! [`Gateway`] writes audio to the topic [`rechka_types::topics::AUDIO`] and reads what a recogniser makes of it from
//! [`rechka_types::topics::TRANSCRIPTS`] and [`rechka_types::topics::PARTIALS`]. It knows no recogniser: the two may stop, restart and
//! live in different processes, and nothing is lost between them.
//!
//! | module | what it does |
//! |---|---|
//! | `protocol` | messages of `/v1/stream`, as pure functions |
//! | `session` | which frame comes next, who owns a session, what is durable |
//! | `transcripts` | what was said, and who listens |
//! | `stream` | one WebSocket connection |
//! | `http` | routes, guards, downloads, audio, the page (`ui/`) |
mod config;
mod error;
mod gateway;
mod http;
mod metrics;
pub mod protocol;
mod reading;
mod server;
mod session;
mod stopping;
mod stream;
mod topics;
mod transcripts;

pub use config::{GatewayConfig, Limits, Probe};
pub use error::ServeError;
pub use gateway::Gateway;
pub use session::SESSIONS;
pub use topics::topic_specs;
