//! A stateful operator that is simple enough to be right: sums by key in windows of 10 s.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch, TimestampMillisecondArray},
    datatypes::{Int64Type, SchemaRef, TimestampMillisecondType},
};

use crate::{
    Result,
    operators::{Delta, Operator, Output, Time},
};

const SIZE: i64 = 10_000;

/// Columns: `key`, `ts` (the end of the window), `value`.
pub struct Totals {
    schema: SchemaRef,
    /// By end of the window (milliseconds) and key.
    sums: BTreeMap<(i64, i64), i64>,
    changed: BTreeSet<(i64, i64)>,
}

impl Totals {
    pub fn new(schema: SchemaRef) -> Self {
        Totals {
            schema,
            sums: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    fn rows(&self, sums: impl Iterator<Item = ((i64, i64), Option<i64>)>) -> Result<RecordBatch> {
        let sums: Vec<_> = sums.collect();
        let keys = Int64Array::from_iter_values(sums.iter().map(|((_, key), _)| *key));
        let ends = TimestampMillisecondArray::from_iter_values(sums.iter().map(|((end, _), _)| *end));
        let values = Int64Array::from_iter(sums.iter().map(|(_, sum)| *sum));
        let columns = vec![Arc::new(keys) as _, Arc::new(ends) as _, Arc::new(values) as _];
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

fn events(rows: &RecordBatch) -> impl Iterator<Item = ((i64, i64), Option<i64>)> {
    let keys = rows.column(0).as_primitive::<Int64Type>().iter();
    let times = rows.column(1).as_primitive::<TimestampMillisecondType>().iter();
    let values = rows.column(2).as_primitive::<Int64Type>().iter();
    keys.zip(times)
        .zip(values)
        .map(|((key, time), value)| ((time.unwrap(), key.unwrap()), value))
}

impl Operator for Totals {
    fn push(&mut self, _input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        for (number, ((at, key), value)) in events(rows).enumerate() {
            let end = at - at.rem_euclid(SIZE) + SIZE;
            if end * 1000 <= time.watermark {
                out.late.push(rows.slice(number, 1));
                continue;
            }
            *self.sums.entry((end, key)).or_default() += value.unwrap();
            self.changed.insert((end, key));
        }
        Ok(())
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        let open = self
            .sums
            .split_off(&(time.watermark.div_euclid(1000).saturating_add(1), i64::MIN));
        let closed = std::mem::replace(&mut self.sums, open);
        if !closed.is_empty() {
            self.changed.extend(closed.keys());
            out.rows
                .push(self.rows(closed.into_iter().map(|(group, sum)| (group, Some(sum))))?);
        }
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let rows = self.rows(changed.map(|group| (group, self.sums.get(&group).copied())))?;
        Ok(if rows.num_rows() == 0 {
            vec![]
        } else {
            vec![Delta { kind: 1, rows }]
        })
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        let rows = self.rows(self.sums.iter().map(|(group, sum)| (*group, Some(*sum))))?;
        Ok(vec![Delta { kind: 1, rows }])
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        for (group, sum) in events(&delta.rows) {
            match sum {
                Some(sum) => self.sums.insert(group, sum),
                None => self.sums.remove(&group),
            };
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sums.len() * size_of::<[i64; 3]>()
    }
}
