//! Rows from one stage to the next, re-keyed through a topic.
//!
//! A record of the topic is either rows, as an Arrow IPC stream, or a watermark: a record without value whose header says up to
//! when the upstream task has sent everything. A task writes its watermark into every partition, after its rows and in the same
//! transaction, so that a reader that has the watermark has the rows.
use std::sync::Arc;

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    row::{RowConverter, SortField},
};
use rechka_log::{Append, Fetched, Partition, RecordRef, TopicPartition, partition_for_key};
use rechka_sql::plan::Expr;

use super::{
    appender::{Appender, RowRecord},
    ipc,
    watermark::Watermark,
};
use crate::{EngineError, Result, operators::Dead};

/// Header of a watermark record: `<upstream task> <microseconds> live|idle`.
const WATERMARK: &str = "rechka.watermark";
/// A record of rows is at most about so large.
const RECORD_BYTES: usize = 4 << 20;

/// Writes what a stage sends to the next.
pub(super) struct ExchangeWriter {
    topic: Arc<str>,
    partitions: Partition,
    keys: Vec<Expr>,
    converter: RowConverter,
}

impl ExchangeWriter {
    /// `schema`: the columns of the rows.
    pub fn new(
        topic: Arc<str>,
        partitions: Partition,
        keys: Vec<Expr>,
        schema: &arrow::datatypes::Schema,
    ) -> Result<Self> {
        let field = |key: &Expr| Ok(SortField::new(key.data_type(schema)?));
        let fields = keys.iter().map(field).collect::<Result<_>>()?;
        Ok(ExchangeWriter {
            topic,
            partitions,
            converter: RowConverter::new(fields)?,
            keys,
        })
    }

    /// The records that bring rows to the partitions of their keys, and the watermark to all partitions. Rows that no record has room
    /// for are put aside.
    pub fn write(
        &self,
        task: Partition,
        rows: &[RecordBatch],
        watermark: Option<Watermark>,
        now: i64,
        too_large: &mut Vec<Dead>,
    ) -> Result<Vec<Append>> {
        let appender = |partition| Appender::new(TopicPartition::new(self.topic.clone(), partition));
        let mut appenders: Vec<Appender> = (0..self.partitions).map(appender).collect();
        if let Some(first) = rows.first() {
            let rows = concat_batches(first.schema_ref(), rows)?;
            for (partition, indices) in self.partition(&rows)?.into_iter().enumerate() {
                if !indices.is_empty() {
                    let rows = take_record_batch(&rows, &UInt32Array::from(indices))?;
                    push_rows(&mut appenders[partition], &rows, now, too_large)?;
                }
            }
        }
        if let Some(watermark) = watermark {
            let idle = if watermark.idle { "idle" } else { "live" };
            let said = format!("{task} {} {idle}", watermark.micros);
            for appender in &mut appenders {
                appender.push(None, &[], now, &[(WATERMARK, said.as_bytes())])?;
            }
        }
        Ok(appenders.into_iter().flat_map(Appender::finish).collect())
    }

    /// The numbers of the rows for each partition.
    fn partition(&self, rows: &RecordBatch) -> Result<Vec<Vec<u32>>> {
        let mut partitions = vec![Vec::new(); self.partitions as usize];
        if self.keys.is_empty() || self.partitions == 1 {
            partitions[0] = (0..rows.num_rows() as u32).collect();
            return Ok(partitions);
        }
        let columns = self
            .keys
            .iter()
            .map(|key| Ok(key.evaluate(rows)?.into_array(rows.num_rows())?));
        let keys = self.converter.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?;
        for (number, key) in (0..).zip(keys.iter()) {
            partitions[partition_for_key(key.as_ref(), self.partitions) as usize].push(number);
        }
        Ok(partitions)
    }
}

/// Writes rows as records that are not too large.
fn push_rows(appender: &mut Appender, rows: &RecordBatch, timestamp: i64, too_large: &mut Vec<Dead>) -> Result<()> {
    let mut value = Vec::new();
    ipc::encode(rows, &mut value)?;
    if value.len() <= RECORD_BYTES || rows.num_rows() == 1 {
        let record = RowRecord {
            key: None,
            value: &value,
            timestamp,
            headers: &[],
            rows,
            row: 0,
        };
        return appender.push_row(record, too_large);
    }
    let half = rows.num_rows() / 2;
    push_rows(appender, &rows.slice(0, half), timestamp, too_large)?;
    push_rows(
        appender,
        &rows.slice(half, rows.num_rows() - half),
        timestamp,
        too_large,
    )
}

/// What a record of an exchange topic says.
pub(super) enum Message {
    Rows(RecordBatch),
    Watermark { task: usize, watermark: Watermark },
}

/// Reads the records of an exchange topic.
pub(super) fn read(fetched: &Fetched) -> impl Iterator<Item = Result<Message>> {
    let damaged = |offset: u64, reason: String| EngineError::State {
        topic: fetched.from.to_string(),
        key: format!("offset {offset}"),
        reason,
    };
    (fetched.base_offset..)
        .zip(fetched.batch.iter())
        .map(move |(offset, record)| read_record(&record).map_err(|reason| damaged(offset, reason)))
}

fn read_record(record: &RecordRef<'_>) -> std::result::Result<Message, String> {
    let Some(said) = record.header(WATERMARK) else {
        let rows = ipc::decode(record.value);
        return rows.map(Message::Rows).map_err(|error| error.to_string());
    };
    let said = String::from_utf8_lossy(said);
    let parse = || {
        let mut words = said.split(' ');
        let message = Message::Watermark {
            task: words.next()?.parse().ok()?,
            watermark: Watermark {
                micros: words.next()?.parse().ok()?,
                idle: words.next()? == "idle",
            },
        };
        Some(message)
    };
    parse().ok_or_else(|| format!("{said:?} is no watermark"))
}
