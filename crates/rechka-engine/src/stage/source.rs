//! Records of a declared stream to rows.
use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
    datatypes::SchemaRef,
};
use rechka_formats::{Bad, Decoder, Format};
use rechka_log::Fetched;
use rechka_sql::{
    catalog::{EventTime, Relation},
    plan::Input,
};

use super::{
    announced,
    metadata::{self, Columns},
    times::Times,
};
use crate::Result;

/// Decodes what a stage reads of a stream.
pub(crate) struct StreamSource {
    decoder: Box<dyn Decoder>,
    columns: Columns,
    schema: SchemaRef,
    event_time: Option<EventTime>,
    /// Whether a record holds many rows.
    many: bool,
}

/// Rows that are fit for the operators.
pub(crate) struct Rows {
    pub rows: RecordBatch,
    /// The greatest event time, in microseconds.
    pub latest: Option<i64>,
    /// The records that are for the dead letters.
    pub bad: Vec<Bad>,
}

impl Rows {
    /// The watermark as it is declared: the greatest event time less the delay.
    pub fn guessed(&self, time: Option<&EventTime>) -> i64 {
        let delay = time.map_or(0, |time| i64::try_from(time.delay.as_micros()).unwrap_or(i64::MAX));
        self.latest.map_or(i64::MIN, |latest| latest.saturating_sub(delay))
    }
}

impl StreamSource {
    pub fn new(relation: &Relation, input: &Input) -> Result<Self> {
        let columns = Columns::new(relation, input.schema.clone());
        let declared = metadata::declared(relation);
        Ok(StreamSource {
            decoder: relation.format.decoder(&declared, columns.of_value())?,
            columns,
            schema: input.schema.clone(),
            event_time: input.event_time.clone(),
            many: matches!(relation.format, Format::Arrow),
        })
    }

    /// The event time of the rows, if they have one.
    pub fn event_time(&self) -> Option<&EventTime> {
        self.event_time.as_ref()
    }

    /// The watermark that records announce for the event time, in microseconds; it is no further ahead of `now` than a row may be.
    pub fn announced(&self, fetched: &Fetched, now: i64) -> Option<i64> {
        let time = self.event_time.as_ref()?;
        let watermark = announced::read(&fetched.batch, self.schema.field(time.column).name())?;
        Some(watermark.min(latest_allowed(time, now)))
    }

    /// Of each row that was decoded of so many records, of which these are bad, the number of its record; none when a record holds
    /// many rows, and so is not to blame as a whole.
    pub fn records(&self, records: usize, bad: &[Bad]) -> Option<Vec<usize>> {
        (!self.many).then(|| used(records, bad))
    }

    /// Decodes records. A row without event time, or too far in the future of `now` (microseconds), is as bad as one that
    /// does not decode.
    pub fn decode(&mut self, fetched: &Fetched, now: i64) -> Result<Rows> {
        let batch = &fetched.batch;
        let plain = self.columns.all_from_value();
        if self.many && !plain && batch.len() > 1 {
            return self.decode_each(fetched, now);
        }
        let decoded = self.decoder.decode(batch)?;
        let (mut rows, mut bad) = (decoded.rows, decoded.bad);
        if !plain {
            let records = match self.many {
                true => vec![0; rows.num_rows()],
                false => used(batch.len(), &bad),
            };
            rows = self.columns.complete(rows, fetched, &records)?;
        }
        let Some(time) = &self.event_time else {
            let latest = None;
            return Ok(Rows { rows, latest, bad });
        };
        let times = Times::of(rows.column(time.column))?;
        let limit = latest_allowed(time, now);
        let latest = times.latest();
        if times.all_known() && latest.is_none_or(|latest| latest <= limit) {
            return Ok(Rows { rows, latest, bad });
        }
        if self.many && batch.len() > 1 {
            return self.decode_each(fetched, now);
        }
        let reason = |row| {
            let name = rows.schema_ref().field(time.column).name();
            match times.micros(row) {
                None => format!("its event time, {name:?}, is missing"),
                Some(micros) => format!(
                    "its event time, {name:?}, is {} s in the future, more than the {} s that are allowed",
                    micros.saturating_sub(now) / 1_000_000,
                    time.ahead.as_secs()
                ),
            }
        };
        let fits = |row: usize| times.micros(row).is_some_and(|micros| micros <= limit);
        if self.many {
            // A record is used whole or not at all.
            let row = (0..rows.num_rows()).find(|row| !fits(*row)).unwrap_or_default();
            bad.push(Bad {
                record: 0,
                reason: reason(row),
            });
            return Ok(Rows {
                rows: rows.slice(0, 0),
                latest: None,
                bad,
            });
        }
        let mut keep = Vec::with_capacity(rows.num_rows());
        for (row, record) in used(batch.len(), &bad).into_iter().enumerate() {
            keep.push(fits(row));
            if !fits(row) {
                bad.push(Bad {
                    record,
                    reason: reason(row),
                });
            }
        }
        bad.sort_by_key(|bad| bad.record);
        let rows = filter_record_batch(&rows, &BooleanArray::from(keep))?;
        let latest = Times::of(rows.column(time.column))?.latest();
        Ok(Rows { rows, latest, bad })
    }

    /// Decodes one record after another, so that it is known which rows come from which.
    fn decode_each(&mut self, fetched: &Fetched, now: i64) -> Result<Rows> {
        let (mut rows, mut latest, mut bad) = (Vec::new(), None, Vec::new());
        for record in 0..fetched.batch.len() {
            let only = Fetched {
                from: fetched.from.clone(),
                base_offset: fetched.base_offset + record as u64,
                batch: fetched.batch.slice(record..record + 1),
            };
            let one = self.decode(&only, now)?;
            rows.push(one.rows);
            latest = latest.max(one.latest);
            bad.extend(one.bad.into_iter().map(|bad| Bad { record, ..bad }));
        }
        Ok(Rows {
            rows: concat_batches(&self.schema, &rows)?,
            latest,
            bad,
        })
    }
}

/// The latest event time that is believed.
fn latest_allowed(time: &EventTime, now: i64) -> i64 {
    now.saturating_add(i64::try_from(time.ahead.as_micros()).unwrap_or(i64::MAX))
}

/// The records, of so many, that are not bad.
fn used(records: usize, bad: &[Bad]) -> Vec<usize> {
    let is_bad = |record: &usize| bad.binary_search_by_key(record, |bad| bad.record).is_ok();
    (0..records).filter(|record| !is_bad(record)).collect()
}
