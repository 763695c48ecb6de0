//! Arrow IPC: a record holds a stream of batches.
use std::panic::catch_unwind;

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    compute::concat_batches,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};
use rechka_log::Batch;

use crate::{Bad, Decoded, Decoder, Encoder, FormatError, Result};

#[derive(Debug)]
pub(crate) struct ArrowDecoder {
    read: SchemaRef,
}

impl ArrowDecoder {
    pub(crate) fn new(read: SchemaRef) -> Self {
        Self { read }
    }

    /// The wanted columns of all batches of a stream.
    fn batches(&self, value: &[u8]) -> std::result::Result<Vec<RecordBatch>, ArrowError> {
        let mut decoder = StreamDecoder::new();
        let mut buffer = Buffer::from(value);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            if let Some(batch) = decoder.decode(&mut buffer)? {
                batches.push(self.wanted(&batch)?);
            }
        }
        decoder.finish()?;
        match decoder.schema() {
            Some(_) => Ok(batches),
            None => Err(ArrowError::IpcError("an empty record".to_owned())),
        }
    }

    fn wanted(&self, batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let schema = batch.schema();
        let positions = self.read.fields().iter().map(|field| schema.index_of(field.name()));
        let columns = batch.project(&positions.collect::<std::result::Result<Vec<_>, _>>()?)?;
        // Checks the types, and that there is no NULL where there must be none.
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.read.clone(), columns.columns().to_vec(), &options)
    }
}

impl Decoder for ArrowDecoder {
    fn decode(&mut self, batch: &Batch) -> Result<Decoded> {
        let (mut batches, mut bad) = (Vec::new(), Vec::new());
        for (number, record) in batch.iter().enumerate() {
            // Arrow's reader checks its messages, but not whether the buffers that they name lie in the record: it panics then.
            let more = catch_unwind(|| self.batches(record.value).map_err(|error| error.to_string()));
            match more.unwrap_or_else(|_| Err("not an Arrow stream, or damaged".to_owned())) {
                Ok(more) => batches.extend(more),
                Err(reason) => bad.push(Bad { record: number, reason }),
            }
        }
        let rows = match &batches[..] {
            [only] => only.clone(),
            many => concat(&self.read, many),
        };
        Ok(Decoded { rows, bad })
    }
}

#[expect(clippy::expect_used, reason = "every batch was made with this schema")]
fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(schema, batches).expect("batches have one schema")
}

#[derive(Debug)]
pub(crate) struct ArrowEncoder;

impl Encoder for ArrowEncoder {
    fn encode(&mut self, rows: &RecordBatch, values: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let start = values.len();
        let written = StreamWriter::try_new(&mut *values, &rows.schema()).and_then(|mut writer| {
            writer.write(rows)?;
            writer.finish()
        });
        written.map_err(|error| {
            values.truncate(start);
            FormatError::Encode {
                format: "arrow",
                reason: error.to_string(),
            }
        })?;
        ends.push(values.len());
        Ok(())
    }
}
