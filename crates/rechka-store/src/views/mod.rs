//! Views: the rows that count now, by key.
//!
//! A view's topic holds records of JSON: the key an object of the key columns, the value an object of all columns; a record without
//! value deletes its key. Records of other formats are made JSON when they are read. All rows of one epoch of one task come in one batch
//! of one partition.
//!
//! # Invariants
//! - Readers see whole epochs only. A batch is applied under one lock. Where the log was compacted a stored batch is no epoch any more;
//!   then nothing is shown until a position is reached from which on it does not matter (`partition.rs`).
//! - A subscription is a snapshot at a point and every change after that point, without hole or double; whoever is too slow for its
//!   bounded queue begins again with a snapshot.
//! - Memory is counted, over all views together; the view that reaches the bound is given up, with a reason, and the others go on.
//!
//! | module | what it does |
//! |---|---|
//! | `scalar` | values of JSON as bytes that sort like the values |
//! | `object` | some columns of a row, without reading the others |
//! | `columns` | names, types and key of a view |
//! | `filter` | which rows are wanted |
//! | `batches` | rows as Arrow |
//! | `row` | a row, and what became of it |
//! | `partition` | when what was read may be shown (a pure state machine) |
//! | `table` | rows, history and subscribers of one view |
//! | `to_json` | records of other formats |
//! | `follower` | the thread that reads a view's topic |
mod batches;
mod columns;
mod filter;
mod follower;
mod object;
mod partition;
mod registry;
mod row;
mod scalar;
mod subscription;
mod table;
#[cfg(test)]
mod tests;
mod to_json;
mod view;

pub use filter::Filter;
pub use registry::{Limits, Views};
pub use row::Row;
pub use subscription::{Event, Subscription};
pub use table::Position;
pub use view::{Found, Statistics, View};
