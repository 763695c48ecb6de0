//! Rows of the last stage to records of the query's result.
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use rechka_formats::{Encoder, Format};
use rechka_log::{Append, MAX_RECORD_BYTES, Partition, TopicPartition};
use rechka_sql::catalog::{Kind, Relation};

use super::{
    announced,
    appender::{Appender, RowRecord},
};
use crate::{Result, operators::Dead};

/// Encodes rows in the format of a relation.
pub(super) struct ResultWriter {
    relation: Arc<Relation>,
    /// The columns of the relation; behind them a row may say that it deletes its key.
    columns: Vec<usize>,
    encoder: Box<dyn Encoder>,
    /// For the keys, if the records have some.
    key_encoder: Option<Box<dyn Encoder>>,
}

/// What becomes of the rows of an epoch.
struct Epoch<'a> {
    now: i64,
    appender: Appender,
    too_large: &'a mut Vec<Dead>,
    /// Rows that are still to come.
    left: usize,
    /// What the first record says about time, until it is written, and what the last one says.
    first: Option<String>,
    last: Option<String>,
}

/// Values one after another, and where each ends.
#[derive(Default)]
struct Values {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Values {
    fn encode(encoder: &mut dyn Encoder, rows: &RecordBatch) -> Result<Self> {
        let mut values = Values::default();
        encoder.encode(rows, &mut values.bytes, &mut values.ends)?;
        Ok(values)
    }

    fn get(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }
}

impl ResultWriter {
    pub fn new(relation: Arc<Relation>) -> Result<Self> {
        let keyed = !relation.key.is_empty() || relation.kind != Kind::Stream;
        let key_schema = Arc::new(relation.schema.project(&relation.key)?);
        Ok(ResultWriter {
            encoder: relation.format.encoder(&relation.schema)?,
            key_encoder: match keyed {
                true => Some(Format::Json.encoder(&key_schema)?),
                false => None,
            },
            columns: (0..relation.schema.fields().len()).collect(),
            relation,
        })
    }

    /// The records of an epoch: each task has a partition of its own. `watermark`: of the rows behind them, in microseconds. `now`: their timestamp, in
    /// milliseconds. It is not the event time of the row, by which a topic with a retention would drop results over old events at once.
    /// Rows that no record has room for are put aside.
    pub fn write(
        &mut self,
        task: Partition,
        rows: &[RecordBatch],
        watermark: i64,
        now: i64,
        too_large: &mut Vec<Dead>,
    ) -> Result<Vec<Append>> {
        let last = self.announced(watermark);
        let mut epoch = Epoch {
            now,
            appender: self.appender(task),
            too_large,
            left: rows.iter().map(RecordBatch::num_rows).sum(),
            first: self.announced(i64::MIN),
            last,
        };
        for rows in rows {
            self.push(rows, &mut epoch)?;
        }
        Ok(epoch.appender.finish())
    }

    /// What records say of a watermark.
    fn announced(&self, watermark: i64) -> Option<String> {
        let time = self.relation.event_time.as_ref()?;
        let column = self.relation.schema.field(time.column).name();
        Some(announced::value(watermark, column))
    }

    fn push(&mut self, all: &RecordBatch, epoch: &mut Epoch<'_>) -> Result<()> {
        let deleted = all
            .columns()
            .get(self.relation.schema.fields().len())
            .map(|column| column.as_boolean());
        let rows = &all.project(&self.columns)?;
        let values = Values::encode(&mut *self.encoder, rows)?;
        let each_row = values.ends.len() == rows.num_rows();
        if !each_row && values.bytes.len() > MAX_RECORD_BYTES && rows.num_rows() > 1 {
            let half = rows.num_rows() / 2;
            self.push(&all.slice(0, half), epoch)?;
            return self.push(&all.slice(half, all.num_rows() - half), epoch);
        }
        let keys = match &mut self.key_encoder {
            Some(encoder) => Some(Values::encode(&mut **encoder, &rows.project(&self.relation.key)?)?),
            None => None,
        };
        for row in 0..values.ends.len() {
            let key = keys.as_ref().filter(|_| each_row).map(|keys| keys.get(row));
            let is_deleted = deleted.is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row));
            epoch.left = epoch.left.saturating_sub(if each_row { 1 } else { rows.num_rows() });
            let first = epoch.first.take();
            let said = if epoch.left == 0 { &epoch.last } else { &first };
            let said = said.as_ref().map(|said| (announced::HEADER, said.as_bytes()));
            let record = RowRecord {
                key,
                value: if is_deleted { &[] } else { values.get(row) },
                timestamp: epoch.now,
                headers: said.as_slice(),
                rows,
                row,
            };
            epoch.appender.push_row(record, epoch.too_large)?;
        }
        Ok(())
    }

    fn appender(&self, task: Partition) -> Appender {
        let appender = Appender::new(TopicPartition::new(self.relation.topic.clone(), task));
        match self.relation.kind {
            // Whoever reads a view sees whole epochs.
            Kind::View | Kind::Table => appender.whole(),
            Kind::Stream => appender,
        }
    }
}
