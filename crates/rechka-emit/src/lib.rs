//! Results to the outside. A sink only reads the log, so it can stop, fail and start again without loss.
mod error;
mod files;

pub use error::{EmitError, Result};
pub use files::{FileSink, Limits, SinkHealth};
