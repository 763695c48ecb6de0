//! Records of other formats as JSON, in which views keep their rows.
use arrow::array::RecordBatch;
use rechka_formats::{Decoder, Encoder, Format, FormatError};
use rechka_log::{Batch, BatchBuilder};
use rechka_sql::Relation;

use crate::{Result, StoreError};

/// Reads records of a view's format. The key of a row is that of its columns, as for queries; a deletion has only the record's.
pub(super) struct ToJson {
    view: String,
    decoder: Box<dyn Decoder>,
    values: Box<dyn Encoder>,
    keys: Box<dyn Encoder>,
    key: Vec<usize>,
}

impl ToJson {
    /// None for a view whose records are JSON.
    pub(super) fn of(relation: &Relation) -> Result<Option<Self>> {
        if relation.format == Format::Json {
            return Ok(None);
        }
        let schema = &relation.schema;
        let refused = |error: FormatError| {
            let view = &relation.name;
            StoreError::Relation(format!("{view:?} can't be kept as a view: {error}"))
        };
        let key = schema.project(&relation.key);
        let key = key.map_err(|error| StoreError::Relation(error.to_string()))?;
        Ok(Some(Self {
            view: relation.name.to_string(),
            decoder: relation.format.decoder(schema, schema.clone()).map_err(refused)?,
            values: Format::Json.encoder(schema).map_err(refused)?,
            keys: Format::Json.encoder(&key).map_err(refused)?,
            key: relation.key.clone(),
        }))
    }

    /// The records in JSON, and how many can't be read.
    pub(super) fn convert(&mut self, batch: &Batch) -> Result<(Batch, u64)> {
        let mut written = BatchBuilder::new();
        for record in batch.iter().filter(|record| !record.value.is_empty()) {
            written.push(None, record.value, record.timestamp, &[])?;
        }
        let failed = |why: String| StoreError::Value(format!("records of view {:?} can't be read: {why}", self.view));
        let decoded = self.decoder.decode(&written.finish());
        let decoded = decoded.map_err(|error| failed(error.to_string()))?;
        let keys = decoded.rows.project(&self.key);
        let keys = keys.map_err(|error| failed(error.to_string()))?;
        let keys = texts(&mut *self.keys, &keys).map_err(|error| failed(error.to_string()))?;
        let values = texts(&mut *self.values, &decoded.rows).map_err(|error| failed(error.to_string()))?;
        let mut rows = keys.iter().zip(values.iter());
        let mut bad = decoded.bad.iter().map(|bad| bad.record).peekable();
        let (mut json, mut row, mut malformed) = (BatchBuilder::new(), 0, 0);
        for record in batch.iter() {
            if record.value.is_empty() {
                json.push(record.key, &[], record.timestamp, &[])?;
                continue;
            }
            if bad.next_if_eq(&row).is_some() {
                malformed += 1;
            } else if let Some((key, value)) = rows.next() {
                json.push(Some(key), value, record.timestamp, &[])?;
            }
            row += 1;
        }
        Ok((json.finish(), malformed))
    }
}

/// Texts one behind another, and where each ends.
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

fn texts(encoder: &mut dyn Encoder, rows: &RecordBatch) -> rechka_formats::Result<Texts> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    encoder.encode(rows, &mut bytes, &mut ends)?;
    Ok(Texts { bytes, ends })
}
