//! Rows as Arrow.
use arrow::array::RecordBatch;
use rechka_formats::{Decoder, Format};
use rechka_log::BatchBuilder;
use rechka_sql::Relation;

use super::row::Row;
use crate::{Result, StoreError};

/// Rows of one record batch.
const BATCH_ROWS: usize = 8192;
/// Bytes of JSON after which a record batch is full.
const BATCH_BYTES: usize = 16 << 20;

/// The rows with the columns of the relation. All or none: who asks twice, for Arrow and for JSON, gets the same rows.
pub(super) fn batches(relation: &Relation, rows: &[Row]) -> Result<Vec<RecordBatch>> {
    let failed = |why: String| StoreError::Value(format!("rows of view {:?} can't become Arrow: {why}", relation.name));
    let schema = &relation.schema;
    let decoder = Format::Json.decoder(schema, schema.clone());
    let mut decoder: Box<dyn Decoder> = decoder.map_err(|error| failed(error.to_string()))?;
    let mut batches = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let mut values = BatchBuilder::new();
        for row in rest {
            if values.len() == BATCH_ROWS || values.bytes() >= BATCH_BYTES {
                break;
            }
            values.push(None, row.value().as_bytes(), 0, &[])?;
        }
        let (rows, after) = rest.split_at(values.len());
        rest = after;
        let decoded = decoder
            .decode(&values.finish())
            .map_err(|error| failed(error.to_string()))?;
        if let Some(bad) = decoded.bad.first() {
            let key = rows.get(bad.record).map_or("", Row::key);
            return Err(failed(format!("the row of key {key}: {}", bad.reason)));
        }
        batches.push(decoded.rows);
    }
    Ok(batches)
}
