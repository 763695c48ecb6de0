//! The kept rows of one side of a join.
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type},
};
use rechka_sql::plan::Expr;

use super::{
    super::{Delta, kept::Chosen, open::Open, unknown_change, watermark::last_complete},
    generation::Generation,
    keyed::Keyed,
    kind::Alone,
};
use crate::Result;

/// A kept row: its generation, and its number there.
pub(super) type Place = (i64, u32);

/// Generations are no shorter than this, in microseconds, so that few rows don't make many of them.
const SHORTEST: i64 = 1_000_000;

/// One side's kept rows in generations by time. A generation is dropped as a whole, with its index.
pub(super) struct Side {
    pub schema: SchemaRef,
    pub alone: Alone,
    time: usize,
    keys: Vec<Expr>,
    /// From a row's time to the earliest and to the last partner's.
    pub reach: (i64, i64),
    /// Length of a generation.
    length: i64,
    generations: BTreeMap<i64, Generation>,
    /// Rows kept, and rows closed by a partner, since the last delta.
    came: Vec<RecordBatch>,
    closed: Vec<Place>,
}

impl Side {
    pub fn new(schema: SchemaRef, alone: Alone, time: usize, keys: Vec<Expr>, reach: (i64, i64)) -> Self {
        let (from, to) = reach;
        // A search goes through about five generations at most, and no more than about 64 are kept for the longest wait.
        let length = (to.saturating_sub(from) / 4)
            .max(to.saturating_abs() / 64)
            .max(SHORTEST);
        Self {
            schema,
            alone,
            time,
            keys,
            reach,
            length,
            generations: BTreeMap::new(),
            came: Vec::new(),
            closed: Vec::new(),
        }
    }

    pub fn keyed(&self, rows: RecordBatch) -> Result<Keyed> {
        Keyed::new(rows, self.time, &self.keys)
    }

    /// Keeps rows, all of which can match.
    pub fn keep(&mut self, rows: Keyed) -> Result<()> {
        if rows.len() > 0 {
            self.came.push(rows.rows.clone());
            self.insert(rows)?;
        }
        Ok(())
    }

    fn insert(&mut self, rows: Keyed) -> Result<()> {
        let Some((earliest, latest)) = rows.span() else {
            return Ok(());
        };
        let (first, last) = (self.number(earliest), self.number(latest));
        if first == last {
            return self.insert_into(first, rows);
        }
        let mut parts = BTreeMap::<i64, Vec<u32>>::new();
        for (row, time) in (0..).zip(rows.times.values()) {
            parts.entry(self.number(*time)).or_default().push(row);
        }
        parts
            .into_iter()
            .try_for_each(|(number, part)| self.insert_into(number, rows.take(part)?))
    }

    fn insert_into(&mut self, number: i64, rows: Keyed) -> Result<()> {
        let tracked = self.alone.is_tracked();
        let generation = self
            .generations
            .entry(number)
            .or_insert_with(|| Generation::new(tracked));
        if tracked {
            let kept = generation.times.len() as u32..;
            self.closed.extend(
                kept.zip(&rows.matched)
                    .filter(|(_, matched)| **matched)
                    .map(|(row, _)| (number, row)),
            );
        }
        generation.push(rows)
    }

    /// The generation of a time.
    fn number(&self, time: i64) -> i64 {
        time.div_euclid(self.length)
    }

    /// The generations that may hold partners of rows whose times lie in this span and reach so far.
    pub fn near(&self, (earliest, latest): (i64, i64), (from, to): (i64, i64)) -> Vec<(i64, &Generation)> {
        let (first, last) = (
            self.number(earliest.saturating_add(from)),
            self.number(latest.saturating_add(to)),
        );
        if first > last {
            return Vec::new();
        }
        self.generations
            .range(first..=last)
            .map(|(number, generation)| (*number, generation))
            .collect()
    }

    /// Closes rows that found a partner. Gives those that were open.
    pub fn close(&mut self, places: Vec<Place>) -> Vec<Place> {
        let mut closed = places;
        closed.retain(|(number, row)| {
            let open = self
                .generations
                .get_mut(number)
                .and_then(|generation| generation.open.as_mut());
            open.is_some_and(|open| open.close(*row as usize))
        });
        self.closed.extend(&closed);
        closed
    }

    /// Closes the rows whose last partner would be late now. Gives those that were open.
    pub fn close_due(&mut self, watermark: i64) -> Vec<Place> {
        let last = self.last_superfluous(watermark);
        let mut closed = Vec::new();
        for (number, generation) in &mut self.generations {
            if let Some(open) = generation.open.as_mut().filter(|_| self.alone.waits()) {
                let rows = open.close_through(last, &generation.times);
                closed.extend(rows.into_iter().map(|row| (*number, row)));
            }
        }
        closed
    }

    /// Drops the generations in which no row can find a partner any more.
    pub fn drop_superfluous(&mut self, watermark: i64) {
        let last = self.last_superfluous(watermark);
        self.generations.retain(|_, generation| generation.latest > last);
    }

    /// The time of the last rows whose partners would all be late now.
    fn last_superfluous(&self, watermark: i64) -> i64 {
        let (_, to) = self.reach;
        last_complete(watermark).saturating_sub(if watermark == i64::MAX { 0 } else { to })
    }

    /// The rows at these places, as columns.
    pub fn rows(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let (mut chosen, mut sources) = (Chosen::default(), BTreeMap::new());
        for (number, _) in places {
            if let (Entry::Vacant(source), Some(generation)) = (sources.entry(*number), self.generations.get(number)) {
                source.insert(chosen.add(&generation.rows));
            }
        }
        let places: Vec<_> = places
            .iter()
            .map(|(number, row)| chosen.place(sources[number], *row))
            .collect();
        (0..self.schema.fields().len())
            .map(|column| Ok(chosen.column(column, &places)?))
            .collect()
    }

    /// What changed since the last call: the rows that came, and those that a partner closed.
    pub fn take_delta(&mut self, came: u8, closed: u8) -> Result<Vec<Delta>> {
        let mut deltas: Vec<_> = self.came.drain(..).map(|rows| Delta { kind: came, rows }).collect();
        let places = std::mem::take(&mut self.closed);
        if !places.is_empty() {
            deltas.push(Delta {
                kind: closed,
                rows: closed_rows(&places)?,
            });
        }
        Ok(deltas)
    }

    /// Everything, in the same form.
    pub fn snapshot(&mut self, came: u8, closed: u8) -> Result<Vec<Delta>> {
        self.came = self
            .generations
            .values()
            .flat_map(|generation| generation.rows.batches().cloned())
            .collect();
        self.closed.clear();
        for (number, generation) in &self.generations {
            let rows = generation.open.iter().flat_map(Open::closed);
            self.closed.extend(rows.map(|row| (*number, row as u32)));
        }
        self.take_delta(came, closed)
    }

    /// Takes up rows that came.
    pub fn restore_rows(&mut self, delta: &Delta) -> Result<()> {
        let columns = delta.rows.columns().to_vec();
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.insert(self.keyed(rows)?)
    }

    /// Takes up rows that were closed.
    pub fn restore_closed(&mut self, delta: &Delta) -> Result<()> {
        let [numbers, rows] = delta.rows.columns() else {
            return Err(unknown_change(delta));
        };
        let (numbers, rows) = (
            numbers.as_primitive_opt::<Int64Type>(),
            rows.as_primitive_opt::<UInt32Type>(),
        );
        let (Some(numbers), Some(rows)) = (numbers, rows) else {
            return Err(unknown_change(delta));
        };
        for (number, row) in numbers.values().iter().zip(rows.values()) {
            let generation = self.generations.get_mut(number);
            let open = generation.filter(|generation| (*row as usize) < generation.times.len());
            let open = open
                .and_then(|generation| generation.open.as_mut())
                .ok_or_else(|| unknown_change(delta))?;
            open.close(*row as usize);
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.generations.values().map(Generation::bytes).sum()
    }
}

/// Closed rows as rows of a change.
pub(super) fn closed_rows(places: &[Place]) -> Result<RecordBatch> {
    let fields = [("generation", DataType::Int64), ("row", DataType::UInt32)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, false));
    let numbers = Int64Array::from_iter_values(places.iter().map(|(number, _)| *number));
    let rows = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    Ok(RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(rows)])?)
}
