//! Stages of streaming queries over the log.
//!
//! ```text
//!  topics ─▶ source ─▶ rows ─▶ dag ─▶ rows ─▶ result, or exchange ┐
//!              │                │                                 ├─ one transaction
//!              └▶ dead letters  ├▶ late rows                      │
//!                               └▶ changelog ─────────────────────┘
//! ```
//!
//! [`StageProcessor`] runs a stage for the partitions that its [`Task`](crate::Task) has: an `Instance` for each, which share nothing.
//! Event time advances at the end of an epoch only.
mod announced;
mod appender;
pub(crate) mod changelog;
pub(crate) mod context;
mod dag;
mod dead;
mod exchange;
mod file;
mod fingerprint;
mod instance;
mod ipc;
mod metadata;
mod processor;
mod purge;
mod readable;
mod replica;
mod result;
mod source;
pub(crate) mod standby;
mod table;
mod times;
mod trail;
mod watermark;

pub(crate) use context::StageContext;
pub use dag::NewOperator;
pub(crate) use file::read as read_file;
pub(crate) use fingerprint::fingerprints;
pub(crate) use processor::{StageProcessor, late_topic};
pub(crate) use source::StreamSource;
pub(crate) use table::{News, TableReader};
