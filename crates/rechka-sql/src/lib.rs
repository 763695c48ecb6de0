//! The language: statements, catalogue, and the plan of a pipeline. No I/O.
mod batch;
pub mod catalog;
mod deep;
mod error;
#[cfg(test)]
mod fuzz;
pub mod logical;
mod nearest;
mod pipeline;
pub mod plan;
pub mod statement;
pub mod stream;
mod text;

pub use batch::{Scanned, expand_windows, read_from};
pub use catalog::{Catalog, EventTime, Kind, Metadata, Relation};
pub use error::Error;
pub use pipeline::{Files, Mode, Pipeline, Reply, Retention, Running};
pub use statement::Statement;
pub use text::Query;
