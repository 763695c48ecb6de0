//! Records to Arrow and back.
//!
//! A [`Format`] says how the value of a record is written. A [`Decoder`] turns the values of a batch of the log into a
//! [`RecordBatch`], only the columns that a query reads; an [`Encoder`] does the reverse. A record that does not decode never stops
//! the others: it comes back as a [`Bad`] with the reason, for the dead letters.
//!
//! What all formats have in common:
//! - A field that is missing or null is NULL, and the record is bad if its column must not be NULL.
//! - A value of another type than its column's is bad; numbers are never cut to fit.
//! - Times are ISO 8601 text (`2026-11-20 13:00:00`, with `T`, with `Z` or an offset, with up to nine digits of fraction), or whole numbers:
//!   milliseconds since 1970. Text without zone is in the zone of its column, or UTC.
//! - Fields that no column names are ignored. Names are matched exactly; if no column has the exact name, without regard to case (SQL
//!   folds names that are not quoted).
mod audio;
mod avro;
mod cells;
mod column;
mod csv;
mod error;
mod format;
mod ipc;
mod json;
mod protobuf;
mod raw;
mod registry;
mod time;

use arrow::array::RecordBatch;
use rechka_log::Batch;

pub use audio::{Encoding, Pcm};
pub use error::{FormatError, Result};
pub use format::Format;
pub use registry::{Registry, Schemas};

/// A record that does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Which record of the batch.
    pub record: usize,
    /// Why, in words for people.
    pub reason: String,
}

/// What a batch of records decodes to.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// A row for each record that is not bad, in order ([`Format::Arrow`]: many rows a record).
    pub rows: RecordBatch,
    /// The records that did not decode, in order.
    pub bad: Vec<Bad>,
}

/// Turns the values of a batch of records into rows of the columns it was made for.
pub trait Decoder: Send {
    /// Decodes all records of `batch`. Records without value (tombstones) are bad here: tables handle them before.
    ///
    /// Fails with [`FormatError::Registry`] when a schema is needed that can't be asked for now: the batch may be tried again.
    fn decode(&mut self, batch: &Batch) -> Result<Decoded>;
}

/// Turns rows into the values of records.
pub trait Encoder: Send {
    /// Appends the value of each row to `values`, and where it ends to `ends` ([`Format::Arrow`]: one value for all rows).
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()>;
}

#[cfg(test)]
mod tests;
