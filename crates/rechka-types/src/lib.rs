//! What the layers tell each other through the log: topics, records and their encoding.
//!
//! | topic | key | value | headers |
//! |---|---|---|---|
//! | [`topics::AUDIO`] | session | raw audio | [`headers`] |
//! | [`topics::TRANSCRIPTS`] | session | [`Transcript`] as JSON | none |
//! | [`topics::PARTIALS`] | session | [`Partial`] as JSON | none |
//!
//! Times inside a session are seconds since its first sample.
pub mod headers;
pub mod topics;
mod transcript;

pub use transcript::{Kind, Partial, Provenance, Transcript, Word};
