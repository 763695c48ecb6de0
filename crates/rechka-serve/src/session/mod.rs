//! Sessions as they come in: who speaks, which frame is next, what is durable.
//!
//! One thread ([`Ingest`]) takes the audio of all connections and appends it to the log. While one append becomes durable,
//! what arrives waits and goes out together in the next: commits are shared by all sessions, without a timer. All decisions
//! (which frame comes next, who owns a session, when it ends) are made by that thread alone, in [`Sequencer`], a state machine
//! without I/O; there is nothing to lock, and nothing to race.
//!
//! Several gateways may serve one log. Each keeps the sessions of its own clients, and follows the others' in the topic [`SESSIONS`], to
//! take one up when its client comes here, and to end those that a gateway has left behind when it died.
mod elsewhere;
mod group;
mod ingest;
mod record;
mod recovery;
mod sequencer;

pub use record::SESSIONS;

pub(crate) use ingest::{Ingest, Job, Opened, Progress};
pub(crate) use record::{Mark, SessionRecord};
pub(crate) use recovery::{follow_up, last_record, recover};
pub(crate) use sequencer::Sequencer;
