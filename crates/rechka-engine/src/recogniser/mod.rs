//! Audio to transcripts, exactly once: what `TRANSCRIBE` runs.
//!
//! ```text
//!  audio ──▶ sessions ──▶ model, one batch over all that is due ──▶ transcripts       ┐
//!    ▲                                                         ├─▶ sessions' state   ├ one transaction
//!    └─ read again from the state's offset after a crash       └─▶ offsets           ┘
//!                                                              └─▶ transcripts.partial, by itself
//! ```
//!
//! The final transcripts are a function of the audio alone: not of how it was batched, how long anything took, or where
//! the process died. Audio that can't be used goes to the dead letters, and what is missing for that is reported as failed.
mod config;
mod keyless;
mod metrics;
mod model;
mod operator;
mod outbox;
mod record;
mod report;
mod slot;
mod stored;
mod stream;
mod topics;
mod transcripts;

pub(crate) use config::Config;
pub use config::{NewDetector, Speech};
pub use metrics::Metrics;
pub use model::{LoadedModel, Model, Models};
pub(crate) use operator::Recognition;
pub(crate) use report::Report;
pub(crate) use topics::Topics;
