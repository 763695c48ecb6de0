//! Tables that never change, from files.
use std::{fs::File, io::Seek, path::Path, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::{cast, concat_batches, sort_to_indices, take_record_batch},
    csv,
    datatypes::{DataType, Field, Schema, SchemaRef},
    json,
};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fingerprint::hash;
use crate::{EngineError, Result};

/// Reads the rows of a file with the columns `read`: CSV with a header, JSON (an object a line) or Parquet, by the ending.
pub(crate) fn read(path: &Path, read: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let wrong = |reason: String| EngineError::Query(format!("can't read {}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    let batches: Result<Vec<RecordBatch>, String> = match ending.to_str() {
        Some("csv") => read_csv(file, read),
        Some("json" | "jsonl" | "ndjson") => read_json(file, read),
        Some("parquet") => read_parquet(file),
        _ => Err("its name does not end in .csv, .json or .parquet".into()),
    };
    let batches = batches.map_err(wrong)?;
    batches.iter().map(|rows| pick(rows, read).map_err(wrong)).collect()
}

/// The rows in the order of a time, for of versions that the watermark has passed the last to come counts.
pub(super) fn by_time(rows: &[RecordBatch], time: usize, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let rows = concat_batches(schema, rows)?;
    let order = sort_to_indices(rows.column(time), None, None)?;
    Ok(vec![take_record_batch(&rows, &order)?])
}

/// Tells the contents of a file from others.
pub(super) fn fingerprint(path: &Path) -> Result<u64> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| EngineError::Query(format!("can't read {}: {error}", path.display())))?;
    Ok(hash(&bytes))
}

fn read_csv(mut file: File, read: &SchemaRef) -> Result<Vec<RecordBatch>, String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let (header, _) = csv::reader::Format::default()
        .with_header(true)
        .infer_schema(&mut file, Some(0))
        .map_err(text)?;
    file.rewind().map_err(|error| error.to_string())?;
    let field = |field: &Arc<Field>| match read.field_with_name(field.name()) {
        Ok(known) => known.clone().with_nullable(true),
        Err(_) => Field::new(field.name(), DataType::Utf8, true),
    };
    let schema = Schema::new(header.fields().iter().map(field).collect::<Vec<_>>());
    let reader = csv::ReaderBuilder::new(Arc::new(schema)).with_header(true).build(file);
    reader.map_err(text)?.collect::<Result<_, _>>().map_err(text)
}

fn read_json(file: File, read: &SchemaRef) -> Result<Vec<RecordBatch>, String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let reader = json::ReaderBuilder::new(read.clone()).build(std::io::BufReader::new(file));
    reader.map_err(text)?.collect::<Result<_, _>>().map_err(text)
}

fn read_parquet(file: File) -> Result<Vec<RecordBatch>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let reader = reader.map_err(|error| error.to_string())?;
    reader.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// The wanted columns, by name and in their types.
fn pick(rows: &RecordBatch, read: &SchemaRef) -> Result<RecordBatch, String> {
    let mut columns = Vec::with_capacity(read.fields().len());
    for field in read.fields() {
        let column = rows.column_by_name(field.name());
        let column = column.ok_or_else(|| format!("it has no column {:?}", field.name()))?;
        columns.push(cast(column, field.data_type()).map_err(|error| error.to_string())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(read.clone(), columns, &options).map_err(|error| error.to_string())
}
