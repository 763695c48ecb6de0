//! A batch of records in columns.
//!
//! The values of a batch lie one after another in one buffer with an offset column beside it: the layout of an Arrow binary
//! array, so that decoding needs no copy and no allocation per record. Keys and headers likewise. The encoded form is what
//! the embedded log stores (compressed); a decoded batch is a view of it:
//!
//! ```text
//! values | pad to 8 | timestamps i64[n] | value offsets u32[n+1]
//!        | key offsets u32[n+1] | key validity, 1 bit per record | keys     (if any record has a key)
//!        | header offsets u32[n+1] | headers                                (if any record has headers)
//!        | footer: u32 n, values, keys, headers in bytes, flags
//! ```
//!
//! All numbers are little-endian. The footer is at the end, so that the builder appends the small columns to the values
//! instead of copying the values behind them. A record's headers are `u16 name length, name, u32 value length, value`, repeated.
mod builder;
mod header;
mod layout;

use std::ops::Range;

use bytes::Bytes;

pub use builder::BatchBuilder;
pub use header::{Header, Headers};
use layout::{Layout, u32_at};

use crate::{LogError, Result};

/// The largest key, value and headers of one record together, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// The largest encoded batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

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

impl<'a> RecordRef<'a> {
    /// The headers, in the order in which they were written. A name may occur more than once.
    pub fn headers(&self) -> Headers<'a> {
        Headers::new(self.encoded_headers)
    }

    /// The last header of this name, as in Kafka.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .filter(|(n, _)| *n == name)
            .last()
            .map(|(_, value)| value)
    }
}

/// Records for, or from, one partition, in order. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The whole encoded batch; empty for the default batch.
    columns: Bytes,
    layout: Layout,
    /// The records of the encoded batch that this one shows.
    records: Range<usize>,
}

impl Batch {
    /// Reads an encoded batch without copying it. The bytes are checked once, here; no later access can fail.
    ///
    /// Fails with [`LogError::Corrupt`] when they are not a batch.
    pub fn decode(columns: Bytes) -> Result<Self> {
        let layout = Layout::parse(&columns).map_err(|why| LogError::Corrupt(format!("batch: {why}")))?;
        Ok(Self {
            columns,
            layout,
            records: 0..layout.records,
        })
    }

    /// The encoded form, which [`Batch::decode`] reads. Copies only if this batch is a slice of another.
    pub fn encode(&self) -> Result<Bytes> {
        if self.records == (0..self.layout.records) && !self.columns.is_empty() {
            return Ok(self.columns.clone());
        }
        let mut builder = BatchBuilder::new();
        for record in self.iter() {
            builder.push_record(&record)?;
        }
        Ok(builder.finish().columns)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of memory that the batch holds on to.
    pub fn bytes(&self) -> usize {
        self.columns.len()
    }

    /// The record number `index`, from 0.
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        (index < self.len()).then(|| self.record(self.records.start + index))
    }

    /// The records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> + DoubleEndedIterator {
        self.records.clone().map(|index| self.record(index))
    }

    /// The records `range` of this batch, without copying them. A range past the end is cut to it.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = self.records.start + range.end.min(self.len());
        let start = (self.records.start + range.start).min(end);
        Self {
            columns: self.columns.clone(),
            layout: self.layout,
            records: start..end,
        }
    }

    /// The buffer in which the values lie one after another; which bytes are which value says [`Batch::value_offsets`].
    pub fn values(&self) -> Bytes {
        self.columns.slice(..self.layout.values)
    }

    /// Where each value starts in [`Batch::values`], and after the last where that ends: `len() + 1` little-endian 32-bit
    /// numbers below 2³¹. With the values this is the layout of an Arrow binary array. The first may be above 0 (after
    /// [`Batch::slice`]); the address is a multiple of 4 unless the batch was decoded from unaligned memory.
    pub fn value_offsets(&self) -> Bytes {
        if self.columns.is_empty() {
            return Bytes::from_static(&[0; 4]);
        }
        let start = self.layout.value_offsets + 4 * self.records.start;
        self.columns.slice(start..start + 4 * (self.len() + 1))
    }

    /// The timestamps: `len()` little-endian 64-bit numbers.
    pub fn timestamps(&self) -> Bytes {
        let start = self.layout.timestamps + 8 * self.records.start;
        self.columns.slice(start..start + 8 * self.len())
    }

    /// The record `index` of the encoded batch, which has it.
    fn record(&self, index: usize) -> RecordRef<'_> {
        let columns = &self.columns[..];
        let span = |offsets: usize, base: usize| {
            let at = offsets + 4 * index;
            &columns[base + u32_at(columns, at)..base + u32_at(columns, at + 4)]
        };
        let layout = &self.layout;
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&columns[layout.timestamps + 8 * index..][..8]);
        RecordRef {
            key: layout
                .keys
                .filter(|keys| columns[keys.validity + index / 8] >> (index % 8) & 1 == 1)
                .map(|keys| span(keys.offsets, keys.bytes)),
            value: span(layout.value_offsets, 0),
            timestamp: i64::from_le_bytes(timestamp),
            encoded_headers: layout
                .headers
                .map_or(&[], |headers| span(headers.offsets, headers.bytes)),
        }
    }
}

#[cfg(test)]
mod tests;
