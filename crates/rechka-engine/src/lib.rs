//! Tasks over the log.
//!
//! A [`Task`] is a loop over epochs: it reads records as a member of a consumer group, hands them to a [`Processor`], and
//! commits what the processor made of them, its state and the offsets in one transaction. [`run`] runs the stages of a streaming query.
//! There are two processors: one for stages of [`operators`], which are pure, and one that recognises speech.
mod clock;
mod error;
mod failpoint;
mod live;
pub mod operators;
mod outside;
pub mod pipelines;
mod processor;
mod recogniser;
mod running;
mod stage;
mod statistics;
pub mod stored;
mod task;

pub use error::{EngineError, Result};
pub use failpoint::{Failpoint, Step};
pub use live::{LiveQuery, Since, watch};
pub use outside::Outside;
pub use processor::{Delivery, Outcome, Processor};
pub use recogniser::{LoadedModel, Metrics, Model, Models, NewDetector, Speech};
pub use running::{Reading, RunOptions, RunningQuery, Standbys, run};
pub use stage::NewOperator;
pub use statistics::{StandbyStatistics, Statistics, TaskStatistics};
pub use task::{Settings, Task};
