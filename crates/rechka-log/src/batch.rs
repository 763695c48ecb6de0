//! A batch of records in columns.
//!
//! The values of a batch lie one after another in one buffer with an offset column beside it: the layout of an Arrow binary
//! array, so that decoding needs no copy and no allocation per record. Keys likewise.
use bytes::Bytes;

/// A header: a name and bytes.
pub type Header<'a> = (&'a str, &'a [u8]);

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// The key, if any. Records of one key keep their order.
    pub key: Option<&'a [u8]>,
    /// The value; empty in a compacted topic: the key is deleted.
    pub value: &'a [u8],
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// Encoded headers, read with [`RecordRef::headers`].
    encoded_headers: &'a [u8],
}

/// Records for, or from, one partition, in order. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    columns: Bytes,
}

/// Builds a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {}

impl Batch {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
