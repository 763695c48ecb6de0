//! Building a batch, record by record.
use super::{
    Batch, Header, MAX_BATCH_BYTES, MAX_RECORD_BYTES, RecordRef, header,
    layout::{FOOTER, Footer, HAS_HEADERS, HAS_KEYS, Layout},
};
use crate::{LogError, Result};

/// Bytes that a record may take besides its key, value and headers.
const OVERHEAD: usize = 8 + 3 * 4 + 1;

/// Builds a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    values: Vec<u8>,
    timestamps: Vec<u8>,
    value_ends: Vec<u8>,
    keys: Vec<u8>,
    key_ends: Vec<u8>,
    key_validity: Vec<u8>,
    headers: Vec<u8>,
    header_ends: Vec<u8>,
    records: usize,
    flags: u32,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty builder with room for so many records with so many bytes of values together.
    pub fn with_capacity(records: usize, value_bytes: usize) -> Self {
        Self {
            // The other columns are appended to the values in the end.
            values: Vec::with_capacity(value_bytes + records * (8 + 4) + 8 + 4 + FOOTER),
            timestamps: Vec::with_capacity(8 * records),
            value_ends: Vec::with_capacity(4 * records),
            ..Self::default()
        }
    }

    /// Adds a record; `timestamp` is in milliseconds since 1970-01-01 UTC.
    ///
    /// Fails with [`LogError::Invalid`], and leaves the builder as it was, when the record is larger than
    /// [`MAX_RECORD_BYTES`] or the batch would be larger than [`MAX_BATCH_BYTES`].
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], timestamp: i64, headers: &[Header<'_>]) -> Result<()> {
        let before = self.headers.len();
        for &header in headers {
            if header::encode(header, &mut self.headers).is_none() {
                self.headers.truncate(before);
                return Err(LogError::Invalid(format!(
                    "the header {:.40}… is too long: a name has at most 65,535 bytes",
                    header.0
                )));
            }
        }
        let result = self.push_columns(key, value, timestamp, before);
        if result.is_err() {
            self.headers.truncate(before);
        }
        result
    }

    /// Adds a record of another batch.
    pub(crate) fn push_record(&mut self, record: &RecordRef<'_>) -> Result<()> {
        let before = self.headers.len();
        self.headers.extend_from_slice(record.encoded_headers);
        self.push_columns(record.key, record.value, record.timestamp, before)
    }

    /// Adds a record whose encoded headers are already there, from `headers_from` on.
    fn push_columns(&mut self, key: Option<&[u8]>, value: &[u8], timestamp: i64, headers_from: usize) -> Result<()> {
        let headers = self.headers.len() - headers_from;
        let record = key.map_or(0, <[u8]>::len) + value.len() + headers;
        if record > MAX_RECORD_BYTES {
            return Err(LogError::Invalid(format!(
                "a record of {record} bytes is larger than the {MAX_RECORD_BYTES} that a record may have: split it"
            )));
        }
        if self.bytes() + record - headers + OVERHEAD > MAX_BATCH_BYTES {
            return Err(LogError::Invalid(format!(
                "the batch would be larger than {MAX_BATCH_BYTES} bytes: finish it before this record"
            )));
        }
        if self.records.is_multiple_of(8) {
            self.key_validity.push(0);
        }
        if let Some(key) = key {
            self.flags |= HAS_KEYS;
            self.keys.extend_from_slice(key);
            self.key_validity[self.records / 8] |= 1 << (self.records % 8);
        }
        if headers > 0 {
            self.flags |= HAS_HEADERS;
        }
        self.values.extend_from_slice(value);
        // A batch is far smaller than 4 GiB.
        let end = |column: &Vec<u8>| (column.len() as u32).to_le_bytes();
        self.value_ends.extend_from_slice(&end(&self.values));
        self.key_ends.extend_from_slice(&end(&self.keys));
        self.header_ends.extend_from_slice(&end(&self.headers));
        self.timestamps.extend_from_slice(&timestamp.to_le_bytes());
        self.records += 1;
        Ok(())
    }

    /// Number of records so far.
    pub fn len(&self) -> usize {
        self.records
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// An upper bound of the encoded size so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.len() + self.keys.len() + self.headers.len() + self.records * OVERHEAD + 8 + 3 * 4 + FOOTER
    }

    /// The batch. An empty one may be built, but not appended to a log.
    pub fn finish(self) -> Batch {
        let footer = Footer {
            records: self.records,
            values: self.values.len(),
            keys: self.keys.len(),
            headers: self.headers.len(),
            flags: self.flags,
        };
        let (layout, length) = Layout::of(footer);
        let mut columns = self.values;
        columns.reserve_exact(length - columns.len());
        columns.resize(layout.timestamps, 0);
        columns.extend_from_slice(&self.timestamps);
        columns.extend_from_slice(&[0; 4]);
        columns.extend_from_slice(&self.value_ends);
        if layout.keys.is_some() {
            columns.extend_from_slice(&[0; 4]);
            columns.extend_from_slice(&self.key_ends);
            columns.extend_from_slice(&self.key_validity);
            columns.extend_from_slice(&self.keys);
        }
        if layout.headers.is_some() {
            columns.extend_from_slice(&[0; 4]);
            columns.extend_from_slice(&self.header_ends);
            columns.extend_from_slice(&self.headers);
        }
        for number in [footer.records, footer.values, footer.keys, footer.headers] {
            columns.extend_from_slice(&(number as u32).to_le_bytes());
        }
        columns.extend_from_slice(&footer.flags.to_le_bytes());
        debug_assert_eq!(columns.len(), length);
        Batch {
            columns: columns.into(),
            layout,
            records: 0..footer.records,
        }
    }
}
