//! Records to Arrow and back.
//!
//! A [`Format`] says how the value of a record is written. A [`Decoder`] turns the values of a batch of the log into a
//! [`RecordBatch`], only the columns that a query reads; an [`Encoder`] does the reverse. A record that does not decode never stops
//! the others: it comes back as a [`Bad`] with the reason, for the dead letters.
use arrow::array::RecordBatch;
use rechka_log::Batch;

/// How the value of a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
    /// One line of separated fields a record.
    Csv {
        /// Between two fields.
        delimiter: u8,
    },
    /// The value as one binary column.
    Raw,
    /// Arrow IPC: one record holds a stream of one batch, so many rows (internal topics).
    Arrow,
}

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
    fn decode(&mut self, batch: &Batch) -> Decoded;
}

/// Turns rows into the values of records.
pub trait Encoder: Send {
    /// Appends the value of each row to `values`, and where it ends to `ends`.
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<(), EncodeError>;
}

/// Rows that can't be written in a format.
#[derive(Debug, thiserror::Error)]
#[error("can't write {format}: {reason}")]
pub struct EncodeError {
    /// The format.
    pub format: &'static str,
    /// What is in the way.
    pub reason: String,
}
