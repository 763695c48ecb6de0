//! Rows as bytes in internal topics: an Arrow IPC stream of one batch.
use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    error::ArrowError,
    ipc::{reader::StreamDecoder, writer::StreamWriter},
};

/// Appends the stream to `bytes`.
pub(super) fn encode(rows: &RecordBatch, bytes: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()
}

/// Reads a stream; it borrows from `bytes` what is aligned.
pub(super) fn decode(bytes: impl Into<Buffer>) -> Result<RecordBatch, ArrowError> {
    let mut bytes = bytes.into();
    let mut decoder = StreamDecoder::new();
    let rows = decoder.decode(&mut bytes)?;
    rows.ok_or_else(|| ArrowError::IpcError("there is no batch of rows".into()))
}
