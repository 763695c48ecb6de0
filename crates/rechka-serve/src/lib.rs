//! The gateway: sound comes in over WebSocket, captions go out, over the log alone.
//!
//! [`Gateway`] writes audio to the topic [`rechka_types::topics::AUDIO`] and reads what a recogniser makes of it from
//! [`rechka_types::topics::TRANSCRIPTS`] and [`rechka_types::topics::PARTIALS`]. It knows no recogniser: the two may stop, restart and
//! live in different processes, and nothing is lost between them.
//!
//! | address | what is there |
//! |---|---|
//! | `/` | the page: microphone, files, live captions, past sessions |
//! | `/v1/stream` | WebSocket: sound in, acknowledgements and captions out ([`protocol`]) |
//! | `/v1/sessions?limit=&before=` | sessions, newest first |
//! | `/v1/sessions/{id}` | one session with its segments and words; with `.srt`, `.vtt`, `.txt`, `.json`: as a file |
//! | `/v1/sessions/{id}/audio` | its sound as WAV, any range of it |
//! | `/v1/sessions/{id}/events` | partials and finals as server-sent events |
//! | `/views` | the page of views: a table and a plot, live |
//! | `/v1/views` | views of streaming SQL, with their columns |
//! | `/v1/views/{name}?key=&limit=` | rows of a view, as JSON or Arrow; `?column=value` for those with that value |
//! | `/v1/views/{name}/changes` | a snapshot and then every change of it, as server-sent events or over WebSocket |
//! | `/healthz`, `/readyz`, `/metrics` | whether it lives, whether it can work, what it counts (Prometheus) |
//!
//! There are no users and no passwords: whoever reaches the address may listen, and continue any session. So it is meant for the
//! own machine, or behind a proxy that asks who one is.
//!
//! | module | what it does |
//! |---|---|
//! | `protocol` | messages of `/v1/stream`, as pure functions |
//! | `session` | which frame comes next, who owns a session, what is durable |
//! | `transcripts` | what was said, and who listens |
//! | `views` | messages to those who listen to a view |
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
mod views;

pub use config::{GatewayConfig, Limits, Probe};
pub use error::ServeError;
pub use gateway::Gateway;
pub use http::speech_segment;
pub use session::SESSIONS;
