//! Results of queries, kept where they can be asked for.
//!
//! [`Views`] follows the topics of views and keeps the last row of every key in memory. A [`View`] answers by key, by any of its columns
//! ([`Filter`]), and tells a [`Subscription`] what changes. Asked or told, the rows are the same, and nobody ever sees half an epoch.
//!
//! ```text
//! engine ──▶ compacted topic ──▶ follower thread ──▶ rows by key ──▶ get, scan          (pull)
//!                                                        └─────────▶ snapshot, changes  (push)
//! ```
mod error;
mod views;

pub use error::{Result, StoreError};
pub use views::{Event, Filter, Found, Limits, Position, Row, Statistics, Subscription, View, Views};
