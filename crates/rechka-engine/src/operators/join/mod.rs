//! Two streams joined: rows whose keys are equal and whose times are near each other.
//!
//! Each side keeps the rows for which a partner may still come, in generations by time. A row that comes searches the other side's:
//! the index gives those with the same hash, their times are compared on the way, and what is left is checked as a batch (that the
//! keys are equal, and the further condition). Rows that wait to be put out alone are closed by a partner, or by the watermark.
//!
//! The changelog holds the rows that came, the rows that a partner closed, and the watermark, from which follows what was closed
//! by it and what was dropped.
mod generation;
mod keyed;
mod kind;
mod pairs;
mod side;
#[cfg(test)]
mod tests;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, new_null_array},
    compute::take_record_batch,
    datatypes::SchemaRef,
};
use rechka_sql::plan;

use self::{
    keyed::Keyed,
    kind::{Alone, Kind},
    pairs::{Pair, Partners},
    side::{Place, Side},
};
use super::{Delta, Operator, Output, Time, condition::Condition, unknown_change, watermark::Watermark};
use crate::{EngineError, Result};

/// Pairs are checked when there are so many, so that a key of many rows does not take all memory.
const PAIRS: usize = 8192;

/// Kinds of change: left and right rows that came, left and right rows that a partner closed, the watermark.
const LEFT_CAME: u8 = 0;
const RIGHT_CAME: u8 = 1;
const LEFT_CLOSED: u8 = 2;
const RIGHT_CLOSED: u8 = 3;
const WATERMARK: u8 = 4;

/// A join of two streams.
pub(super) struct Join {
    pairs: bool,
    condition: Option<Condition>,
    sides: [Side; 2],
    schema: SchemaRef,
    watermark: Watermark,
}

impl Join {
    pub fn new(join: &plan::Join, inputs: &[SchemaRef], schema: SchemaRef) -> Result<Self> {
        let [left, right] = inputs else {
            return Err(EngineError::Query("a join has two inputs".into()));
        };
        let (kind, bound) = (Kind::new(join.kind)?, join.bound);
        let (left_keys, right_keys) = join.on.iter().cloned().unzip();
        let left_reach = (bound.lower, bound.upper);
        let right_reach = (bound.upper.saturating_neg(), bound.lower.saturating_neg());
        Ok(Self {
            pairs: kind.pairs,
            condition: pairs::condition(join, left, right)?,
            sides: [
                Side::new(left.clone(), kind.alone[0], bound.left, left_keys, left_reach),
                Side::new(right.clone(), kind.alone[1], bound.right, right_keys, right_reach),
            ],
            schema,
            watermark: Watermark::new(),
        })
    }

    /// Matches rows with the kept ones of the other side: puts pairs out, marks the rows that found a partner, and gives the
    /// places of the partners.
    fn search(&self, input: usize, coming: &mut Keyed, out: &mut Output) -> Result<Vec<Place>> {
        let (side, other) = (&self.sides[input], &self.sides[1 - input]);
        let mut places = Vec::new();
        let Some(span) = coming.span() else { return Ok(places) };
        let near = other.near(span, side.reach);
        let left_columns = self.sides[0].schema.fields().len();
        let partners = Partners::new(
            &coming.rows,
            input == 0,
            left_columns,
            near.iter().map(|(_, near)| &near.rows),
        );
        let columns: Vec<_> = (0..self.schema.fields().len()).collect();
        let mut matched = std::mem::take(&mut coming.matched);
        let mut check = |pairs: &mut Vec<Pair>| {
            if pairs.is_empty() {
                return Ok(());
            }
            if let Some(condition) = &self.condition {
                partners.retain(pairs, condition)?;
            }
            if self.pairs && !pairs.is_empty() {
                out.rows.extend(partners.rows(pairs, &columns, &self.schema)?);
            }
            for pair in pairs.drain(..) {
                matched[pair.coming as usize] = true;
                if other.alone.is_tracked() {
                    places.push((near[pair.source as usize].0, pair.row));
                }
            }
            Ok::<_, EngineError>(())
        };
        let only_open = other.alone.ends_with_match();
        let mut pairs = Vec::new();
        for (source, (_, generation)) in (0..).zip(&near) {
            generation.candidates(source, coming, side.reach, only_open, |pair| {
                pairs.push(pair);
                if pairs.len() < PAIRS { Ok(()) } else { check(&mut pairs) }
            })?;
        }
        check(&mut pairs)?;
        coming.matched = matched;
        Ok(places)
    }

    /// Rows of one side, put out alone.
    fn put_out(&self, input: usize, rows: Vec<ArrayRef>, out: &mut Output) -> Result<()> {
        let count = rows.first().map_or(0, |column| column.len());
        let mut columns = rows;
        if self.sides[input].alone == Alone::Padded {
            let missing = self.sides[1 - input].schema.fields().iter();
            let missing = missing.map(|field| new_null_array(field.data_type(), count));
            let place = if input == 0 { columns.len() } else { 0 };
            columns.splice(place..place, missing);
        }
        out.rows.push(RecordBatch::try_new(self.schema.clone(), columns)?);
        Ok(())
    }
}

impl Operator for Join {
    fn push(&mut self, input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        let coming = self.sides[input].keyed(rows.clone())?;
        let Some(mut coming) = on_time(coming, time.watermark, out)? else {
            return Ok(());
        };
        let partners = self.search(input, &mut coming, out)?;
        let closed = self.sides[1 - input].close(partners);
        if self.sides[1 - input].alone == Alone::Matched && !closed.is_empty() {
            self.put_out(1 - input, self.sides[1 - input].rows(&closed)?, out)?;
        }

        let alone = self.sides[input].alone;
        let (mut leaving, mut staying) = (Vec::new(), Vec::new());
        for (row, matched) in (0..).zip(&coming.matched) {
            let matchable = coming.is_matchable(row as usize);
            if (alone == Alone::Matched && *matched) || (alone.waits() && !matchable) {
                leaving.push(row);
            } else if matchable && !(alone.ends_with_match() && *matched) {
                staying.push(row);
            }
        }
        if !leaving.is_empty() {
            let leaving = take_record_batch(&coming.rows, &UInt32Array::from(leaving))?;
            self.put_out(input, leaving.columns().to_vec(), out)?;
        }
        let staying = if staying.len() == coming.len() {
            coming
        } else {
            coming.take(staying)?
        };
        self.sides[input].keep(staying)
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        self.watermark.advance(time.watermark);
        for input in 0..2 {
            let due = self.sides[input].close_due(time.watermark);
            if !due.is_empty() {
                self.put_out(input, self.sides[input].rows(&due)?, out)?;
            }
            self.sides[input].drop_superfluous(time.watermark);
        }
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        let [left, right] = &mut self.sides;
        deltas.extend(left.take_delta(LEFT_CAME, LEFT_CLOSED)?);
        deltas.extend(right.take_delta(RIGHT_CAME, RIGHT_CLOSED)?);
        self.watermark.end_deltas(&mut deltas, WATERMARK)?;
        Ok(deltas)
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        let [left, right] = &mut self.sides;
        deltas.extend(left.snapshot(LEFT_CAME, LEFT_CLOSED)?);
        deltas.extend(right.snapshot(RIGHT_CAME, RIGHT_CLOSED)?);
        deltas.push(self.watermark.snapshot(WATERMARK)?);
        Ok(deltas)
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        let [left, right] = &mut self.sides;
        match delta.kind {
            LEFT_CAME => left.restore_rows(delta),
            RIGHT_CAME => right.restore_rows(delta),
            LEFT_CLOSED => left.restore_closed(delta),
            RIGHT_CLOSED => right.restore_closed(delta),
            WATERMARK => {
                let watermark = self.watermark.restore(delta)?;
                for side in &mut self.sides {
                    side.close_due(watermark);
                    side.drop_superfluous(watermark);
                }
                Ok(())
            }
            _ => Err(unknown_change(delta)),
        }
    }

    fn state_bytes(&self) -> usize {
        self.sides.iter().map(Side::bytes).sum()
    }
}

/// The rows that are not late, if any; late ones are put out as such.
fn on_time(rows: Keyed, watermark: i64, out: &mut Output) -> Result<Option<Keyed>> {
    let is_late = |row: &u32| rows.time(*row as usize).is_some_and(|time| time < watermark);
    let numbers = 0..rows.len() as u32;
    if !numbers.clone().any(|row| is_late(&row)) {
        return Ok((rows.len() > 0).then_some(rows));
    }
    let (late, on_time): (Vec<_>, Vec<_>) = numbers.partition(is_late);
    out.late.push(take_record_batch(&rows.rows, &UInt32Array::from(late))?);
    Ok(if on_time.is_empty() {
        None
    } else {
        Some(rows.take(on_time)?)
    })
}
