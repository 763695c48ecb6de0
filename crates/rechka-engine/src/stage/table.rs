//! Tables: read whole before the streams, and followed from then on. What an operator keeps of a table is in its state, so reading
//! goes on where the last epoch was.
use std::{ops::Range, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use rechka_formats::{Bad, Decoder, Format};
use rechka_log::{Batch, BatchBuilder, Fetched, Log, LogError, Offset, Partition, Reader, RecordRef, TopicPartition};
use rechka_sql::{
    catalog::Relation,
    plan::{DELETED, Input},
};
use serde_json::{Map, Value};

use crate::Result;

/// A deletion is in the log for so long at least: whoever has not read for longer may have missed some.
pub(super) const DELETIONS_KEPT: Duration = Duration::from_hours(24);
/// How long to wait for records that the log says are there.
const WAIT: Duration = Duration::from_millis(100);

/// The columns of a table's rows as operators get them: those that are read, and whether the row deletes its key.
pub(super) fn schema(input: &Input) -> SchemaRef {
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let deleted = Field::new(DELETED, DataType::Boolean, false);
    let fields = input.schema.fields().iter().map(nullable).chain([deleted]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows of a table that replace those of the same keys.
pub(super) fn upserts(rows: RecordBatch, input: &Input) -> Result<RecordBatch> {
    with_deleted(rows.columns().to_vec(), false, rows.num_rows(), schema(input))
}

fn with_deleted(mut columns: Vec<ArrayRef>, deleted: bool, count: usize, schema: SchemaRef) -> Result<RecordBatch> {
    columns.push(Arc::new(BooleanArray::from(vec![deleted; count])));
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// What comes of a table.
pub(crate) enum News {
    /// Rows, the last column of which says whether they delete their keys.
    Rows(RecordBatch),
    /// Records that can't be used.
    Bad(Fetched, Vec<Bad>),
    /// Records that are damaged in the log.
    Lost {
        from: TopicPartition,
        offsets: Range<Offset>,
        reason: String,
    },
}

/// Follows a table.
pub(crate) struct TableReader {
    relation: Arc<Relation>,
    reader: Box<dyn Reader>,
    decoder: Box<dyn Decoder>,
    key_decoder: Box<dyn Decoder>,
    /// The columns of the rows, [`DELETED`] last.
    schema: SchemaRef,
    time: Option<usize>,
    /// The next offset of each partition, and where the table ended when it was opened.
    next: Vec<Offset>,
    ends: Vec<Offset>,
}

impl TableReader {
    /// `next`: where an earlier reader stopped, by partition; empty: there was none.
    pub fn open(log: &dyn Log, relation: &Arc<Relation>, input: &Input, next: &[Offset]) -> Result<Self> {
        let (mut from, mut ends) = (Vec::new(), Vec::new());
        for partition in 0..relation.partitions {
            let name = TopicPartition::new(relation.topic.clone(), partition);
            let offsets = log.offsets(&name)?;
            let next = next.get(partition as usize).copied().unwrap_or_default();
            from.push((name, next.max(offsets.start)));
            ends.push(offsets.end);
        }
        let next = from.iter().map(|(_, next)| *next).collect();
        let key_schema = relation.schema.project(&relation.key)?;
        Ok(TableReader {
            relation: relation.clone(),
            reader: log.read(from)?,
            decoder: relation.format.decoder(&relation.schema, input.schema.clone())?,
            key_decoder: Format::Json.decoder(&key_schema, Arc::new(key_schema.clone()))?,
            schema: schema(input),
            time: input.event_time.as_ref().map(|time| time.column),
            next,
            ends,
        })
    }

    /// Everything that was in the table when it was opened.
    pub fn read_all(&mut self, mut take: impl FnMut(News) -> Result<()>) -> Result<()> {
        while self.next.iter().zip(&self.ends).any(|(next, end)| next < end) {
            // What lies before the end is there; None: only holes follow.
            let Some(news) = self.read(WAIT)? else {
                if self.reader.is_at_end() {
                    break;
                }
                continue;
            };
            news.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    /// What was changed since, in order.
    pub fn read_new(&mut self) -> Result<Vec<News>> {
        let mut news = Vec::new();
        while let Some(more) = self.read(Duration::ZERO)? {
            news.extend(more);
        }
        Ok(news)
    }

    fn read(&mut self, wait: Duration) -> Result<Option<Vec<News>>> {
        let fetched = match self.reader.poll(wait) {
            Err(LogError::Damaged { from, offsets, reason }) => {
                self.passed(from.partition, offsets.end);
                return Ok(Some(vec![News::Lost { from, offsets, reason }]));
            }
            polled => polled?,
        };
        let Some(fetched) = fetched else {
            return Ok(None);
        };
        self.passed(fetched.from.partition, fetched.next_offset());
        self.decode(fetched).map(Some)
    }

    fn passed(&mut self, partition: Partition, offset: Offset) {
        if let Some(next) = self.next.get_mut(partition as usize) {
            *next = offset;
        }
    }

    /// The next offset of each partition.
    pub fn next(&self) -> &[Offset] {
        &self.next
    }

    /// Runs of rows and of deletions, in order, and what is none.
    fn decode(&mut self, fetched: Fetched) -> Result<Vec<News>> {
        let batch = &fetched.batch;
        let is_deletion = |record: usize| batch.get(record).is_some_and(|record| record.value.is_empty());
        let (mut news, mut all_bad, mut start) = (Vec::new(), Vec::new(), 0);
        while start < batch.len() {
            let deletions = is_deletion(start);
            let mut end = start + 1;
            while end < batch.len() && is_deletion(end) == deletions {
                end += 1;
            }
            let run = batch.slice(start..end);
            let (rows, bad) = match deletions {
                true => self.decode_deletions(&run)?,
                false => self.decode_rows(&run)?,
            };
            news.push(News::Rows(rows));
            all_bad.extend(bad.into_iter().map(|bad| Bad {
                record: start + bad.record,
                ..bad
            }));
            start = end;
        }
        if !all_bad.is_empty() {
            news.push(News::Bad(fetched, all_bad));
        }
        Ok(news)
    }

    fn decode_rows(&mut self, batch: &Batch) -> Result<(RecordBatch, Vec<Bad>)> {
        let decoded = self.decoder.decode(batch)?;
        let count = decoded.rows.num_rows();
        let rows = with_deleted(decoded.rows.columns().to_vec(), false, count, self.schema.clone())?;
        Ok((rows, decoded.bad))
    }

    fn decode_deletions(&mut self, batch: &Batch) -> Result<(RecordBatch, Vec<Bad>)> {
        let mut keys = BatchBuilder::new();
        let mut timestamps = Vec::new();
        for record in batch.iter() {
            keys.push(None, &self.key_object(&record), record.timestamp, &[])?;
        }
        let keys = keys.finish();
        let mut decoded = self.key_decoder.decode(&keys)?;
        for bad in &mut decoded.bad {
            bad.reason = format!("it deletes a key that is none of the table: {}", bad.reason);
        }
        let is_bad = |record| decoded.bad.iter().any(|bad| bad.record == record);
        for (record, key) in batch.iter().enumerate() {
            if !is_bad(record) {
                timestamps.push(key.timestamp);
            }
        }
        let count = decoded.rows.num_rows();
        let timestamps: ArrayRef = Arc::new(Int64Array::from(timestamps));
        let column = |(number, field): (usize, &Arc<Field>)| {
            if self.time == Some(number) {
                let milliseconds = cast(&timestamps, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
                return Ok(cast(&milliseconds, field.data_type())?);
            }
            let key = decoded.rows.column_by_name(field.name());
            Ok(key.cloned().unwrap_or_else(|| new_null_array(field.data_type(), count)))
        };
        let fields = self.schema.fields();
        let columns = fields.iter().enumerate().take(fields.len() - 1).map(column);
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok((with_deleted(columns, true, count, self.schema.clone())?, decoded.bad))
    }

    /// The key of a record as a JSON object: it is one, or the bare value of the only key column.
    fn key_object(&self, record: &RecordRef<'_>) -> Vec<u8> {
        let key = record.key.unwrap_or_default();
        let &[column] = &self.relation.key[..] else {
            return key.to_vec();
        };
        if key.starts_with(b"{") {
            return key.to_vec();
        }
        let field = self.relation.schema.field(column);
        let text = String::from_utf8_lossy(key);
        let value = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Value::from(text),
            _ => serde_json::from_str(&text).unwrap_or(Value::from(text)),
        };
        Value::from(Map::from_iter([(field.name().clone(), value)]))
            .to_string()
            .into_bytes()
    }
}
