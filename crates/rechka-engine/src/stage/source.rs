//! Records of a declared stream to rows.
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::{cast, concat_batches, filter_record_batch, max},
    datatypes::{DataType, Int64Type, SchemaRef, TimeUnit},
};
use rechka_formats::{Bad, Decoder, Format};
use rechka_log::Batch;
use rechka_sql::{
    catalog::{EventTime, Relation},
    plan::Input,
};

use crate::Result;

/// Decodes what a stage reads of a stream.
pub(super) struct StreamSource {
    decoder: Box<dyn Decoder>,
    schema: SchemaRef,
    event_time: Option<EventTime>,
    /// Whether a record holds many rows.
    many: bool,
}

/// Rows that are fit for the operators.
pub(super) struct Rows {
    pub rows: RecordBatch,
    /// The greatest event time, in microseconds.
    pub latest: Option<i64>,
    /// The records that are for the dead letters.
    pub bad: Vec<Bad>,
}

impl StreamSource {
    pub fn new(relation: &Relation, input: &Input) -> Result<Self> {
        Ok(StreamSource {
            decoder: relation.format.decoder(&relation.schema, input.schema.clone())?,
            schema: input.schema.clone(),
            event_time: input.event_time.clone(),
            many: matches!(relation.format, Format::Arrow),
        })
    }

    /// The event time of the rows, if they have one.
    pub fn event_time(&self) -> Option<&EventTime> {
        self.event_time.as_ref()
    }

    /// Decodes records. A row without event time, or too far in the future of `now` (microseconds), is as bad as one that
    /// does not decode.
    pub fn decode(&mut self, batch: &Batch, now: i64) -> Result<Rows> {
        let decoded = self.decoder.decode(batch);
        let (rows, mut bad) = (decoded.rows, decoded.bad);
        let Some(time) = &self.event_time else {
            let latest = None;
            return Ok(Rows { rows, latest, bad });
        };
        let times = Times::of(rows.column(time.column))?;
        let ahead = i64::try_from(time.ahead.as_micros()).unwrap_or(i64::MAX);
        let limit = now.saturating_add(ahead);
        let latest = times.latest();
        if times.all_known() && latest.is_none_or(|latest| latest <= limit) {
            return Ok(Rows { rows, latest, bad });
        }
        if self.many && batch.len() > 1 {
            return self.decode_each(batch, now);
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
        let undecoded: Vec<usize> = bad.iter().map(|bad| bad.record).collect();
        let decoded = (0..batch.len()).filter(|record| undecoded.binary_search(record).is_err());
        let mut keep = Vec::with_capacity(rows.num_rows());
        for (row, record) in decoded.enumerate() {
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
    fn decode_each(&mut self, batch: &Batch, now: i64) -> Result<Rows> {
        let (mut rows, mut latest, mut bad) = (Vec::new(), None, Vec::new());
        for record in 0..batch.len() {
            let one = self.decode(&batch.slice(record..record + 1), now)?;
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

/// A column of timestamps, counted in microseconds.
struct Times {
    counts: ArrayRef,
    unit: TimeUnit,
}

impl Times {
    fn of(column: &ArrayRef) -> Result<Self> {
        let unit = match column.data_type() {
            DataType::Timestamp(unit, _) => *unit,
            _ => TimeUnit::Microsecond,
        };
        Ok(Times {
            counts: cast(column, &DataType::Int64)?,
            unit,
        })
    }

    fn all_known(&self) -> bool {
        self.counts.null_count() == 0
    }

    fn latest(&self) -> Option<i64> {
        max(self.counts.as_primitive::<Int64Type>()).map(|count| in_micros(count, self.unit))
    }

    fn micros(&self, row: usize) -> Option<i64> {
        let counts = self.counts.as_primitive::<Int64Type>();
        (!counts.is_null(row)).then(|| in_micros(counts.value(row), self.unit))
    }
}

fn in_micros(count: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => count.saturating_mul(1_000_000),
        TimeUnit::Millisecond => count.saturating_mul(1000),
        TimeUnit::Microsecond => count,
        TimeUnit::Nanosecond => count.div_euclid(1000),
    }
}
