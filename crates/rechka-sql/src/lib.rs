//! The language: statements, catalogue, and the plan of a pipeline. No I/O.
pub mod catalog;
pub mod plan;

pub use catalog::{EventTime, Kind, Relation};
