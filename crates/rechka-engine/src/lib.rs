//! Tasks over the log.
//!
//! A [`Task`] is a loop over epochs: it reads records as a member of a consumer group, hands them to an [`Operator`], and
//! commits what the operator made of them, its state and the offsets in one transaction. [`Recogniser`] is the operator
//! that turns audio into transcripts, with a thread of its own.
mod error;
pub mod operators;
mod recogniser;
mod task;

pub use error::{EngineError, Result};
pub use recogniser::{Config, Metrics, Model, NewDetector, Recogniser, STATE};
pub use task::{Operator, Task};
