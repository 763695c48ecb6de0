//! A stream enriched from a table.
//!
//! Either each row finds the table as it is when the row comes, or the row waits until the watermark has passed its time, when the
//! version of the table that was valid at that time can't change any more. The changelog holds the table's rows that came, the
//! stream's rows that wait, and the watermark.
mod pairs;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    compute::{filter_record_batch, is_null, not},
    datatypes::{Int64Type, SchemaRef},
};
use datafusion::logical_expr::JoinType;
use rechka_sql::plan::{self, AsOf, Expr};

use self::{pairs::Pairs, table::Table, waiting::Waiting};
use super::{
    Dead, Delta, Operator, Output, Time,
    condition::Condition,
    expressions::{evaluate, microseconds},
    unknown_change,
    watermark::{Watermark, last_complete},
    work_on,
};
use crate::{EngineError, Result};

/// Kinds of change: stream's rows that wait, table's rows, the watermark, the table begins anew.
const WAITING: u8 = 0;
const TABLE: u8 = 1;
const WATERMARK: u8 = 2;
/// What came of the table does not count any more.
const CLEARED: u8 = 3;

/// A join of a stream with a table.
pub(super) struct Lookup {
    /// Whether a row without partner is put out.
    padded: bool,
    on: Vec<Expr>,
    filter: Option<Condition>,
    as_of: Option<AsOf>,
    stream: SchemaRef,
    table: Table,
    waiting: Waiting,
    schema: SchemaRef,
    watermark: Watermark,
    came: Vec<Delta>,
}

impl Lookup {
    pub fn new(lookup: &plan::Lookup, inputs: &[SchemaRef], schema: SchemaRef) -> Result<Self> {
        let [stream, table] = inputs else {
            return Err(EngineError::Query("a lookup has two inputs".into()));
        };
        let padded = match lookup.kind {
            JoinType::Inner => false,
            JoinType::Left => true,
            other => {
                return Err(EngineError::Query(format!(
                    "a stream can't be joined with a table by a {other} join"
                )));
            }
        };
        for (left, right) in &lookup.on {
            let types = (left.data_type(stream)?, right.data_type(table)?);
            if types.0 != types.1 {
                let reason = format!("the keys {left} and {right} have the types {} and {}", types.0, types.1);
                return Err(EngineError::Query(reason));
            }
        }
        let (on, table_on) = lookup.on.iter().cloned().unzip();
        Ok(Self {
            padded,
            on,
            filter: lookup
                .filter
                .clone()
                .map(|filter| Condition::new(filter, stream, table))
                .transpose()?,
            as_of: lookup.as_of,
            stream: stream.clone(),
            table: Table::new(table.clone(), table_on, lookup.as_of.map(|as_of| as_of.table))?,
            waiting: Waiting::default(),
            schema,
            watermark: Watermark::new(),
            came: Vec::new(),
        })
    }

    /// Puts rows out with what the table has for them, of a time before `since` what it had then.
    fn look_up(&self, rows: &RecordBatch, since: i64, out: &mut Output) -> Result<()> {
        let mut partners = self.partners(rows, since)?;
        if let Some(condition) = &self.filter {
            let pairs = Pairs {
                rows,
                table: &self.table,
                partners: &partners,
            };
            let failing = pairs.failing(condition)?;
            failing.into_iter().for_each(|row| partners[row as usize] = None);
        }
        let pairs = Pairs {
            rows,
            table: &self.table,
            partners: &partners,
        };
        let chosen = if self.padded {
            (0..rows.num_rows() as u32).collect()
        } else {
            pairs.with_partner()
        };
        let columns: Vec<_> = (0..self.schema.fields().len()).collect();
        out.rows.extend(
            pairs
                .rows(&chosen, &columns, &self.schema)?
                .into_iter()
                .filter(|rows| rows.num_rows() > 0),
        );
        Ok(())
    }

    /// For each row the number of the table's row that belongs to it.
    fn partners(&self, rows: &RecordBatch, since: i64) -> Result<Vec<Option<u32>>> {
        let keys = evaluate(&self.on, rows)?;
        let times = self
            .as_of
            .map(|as_of| microseconds(rows.column(as_of.stream)))
            .transpose()?
            .map(|times| times.unary::<_, Int64Type>(|time| time.max(since)));
        let mut partners = self.table.find(
            &keys,
            rows.num_rows(),
            times.as_ref().map(|times| times.values().as_ref()),
        )?;
        let nulls = keys.iter().filter_map(|key| key.logical_nulls());
        for nulls in nulls.chain(times.and_then(|times| times.nulls().cloned())) {
            let missing = partners.iter_mut().zip(&nulls).filter(|(_, valid)| !valid);
            missing.for_each(|(partner, _)| *partner = None);
        }
        Ok(partners)
    }

    /// Takes up rows of the stream that must wait. Gives those that need not: they have no time, so that no version is theirs.
    fn wait(&mut self, rows: RecordBatch, time: usize) -> Result<RecordBatch> {
        let timeless = is_null(rows.column(time))?;
        let (timeless, waiting) = match timeless.has_true() {
            true => (
                filter_record_batch(&rows, &timeless)?,
                filter_record_batch(&rows, &not(&timeless)?)?,
            ),
            false => (rows.slice(0, 0), rows),
        };
        self.waiting.push(waiting, time)?;
        Ok(timeless)
    }
}

impl Operator for Lookup {
    fn push(&mut self, input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if input == 1 {
            self.table.upsert(rows.clone(), time.watermark)?;
            self.came.push(Delta {
                kind: TABLE,
                rows: rows.clone(),
            });
            return Ok(());
        }
        let Some(as_of) = self.as_of else {
            return self.look_up(rows, time.watermark, out);
        };
        let times = microseconds(rows.column(as_of.event))?;
        let late: BooleanArray = times
            .iter()
            .map(|row| Some(row.is_some_and(|row| row < time.watermark)))
            .collect();
        let mut rows = rows.clone();
        if late.has_true() {
            out.late.push(filter_record_batch(&rows, &late)?);
            rows = filter_record_batch(&rows, &not(&late)?)?;
        }
        // Before a row waits it must be clear that it can be looked up.
        evaluate(&self.on, &rows)?;
        let timeless = self.wait(rows.clone(), as_of.stream)?;
        if timeless.num_rows() > 0 {
            self.look_up(&timeless, time.watermark, out)?;
        }
        if rows.num_rows() > 0 {
            self.came.push(Delta { kind: WAITING, rows });
        }
        Ok(())
    }

    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()> {
        let Some(as_of) = self.as_of else { return Ok(()) };
        // The last moment of a window may lie before the watermark that its end has not reached: older versions are forgotten then.
        let before = self.watermark.get();
        self.watermark.advance(time.watermark);
        for rows in self.waiting.take_through(last_complete(time.watermark), as_of.stream)? {
            let failing = work_on(&rows, |_, rows| self.look_up(rows, before, out))?;
            out.dead.extend(failing.into_iter().map(|(row, reason)| Dead {
                row: rows.slice(row, 1),
                reason,
            }));
        }
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        let mut deltas = std::mem::take(&mut self.came);
        if self.as_of.is_some() {
            self.watermark.end_deltas(&mut deltas, WATERMARK)?;
        }
        Ok(deltas)
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        self.came.clear();
        // The watermark comes first: versions that it has passed are valid from it on.
        let mut deltas = match self.as_of {
            Some(_) => vec![self.watermark.snapshot(WATERMARK)?],
            None => Vec::new(),
        };
        deltas.push(Delta {
            kind: TABLE,
            rows: self.table.needed(self.watermark.get())?,
        });
        deltas.extend(self.waiting.batches().map(|rows| Delta {
            kind: WAITING,
            rows: rows.clone(),
        }));
        Ok(deltas)
    }

    fn restore(&mut self, delta: &Delta) -> Result<()> {
        let with = |schema: &SchemaRef| RecordBatch::try_new(schema.clone(), delta.rows.columns().to_vec());
        match (delta.kind, self.as_of) {
            (TABLE, _) => self.table.upsert(with(self.table.schema())?, self.watermark.get()),
            (CLEARED, _) => self.table.clear(),
            (WAITING, Some(as_of)) => self.wait(with(&self.stream)?, as_of.stream).map(drop),
            (WATERMARK, Some(as_of)) => {
                let watermark = self.watermark.restore(delta)?;
                self.waiting
                    .take_through(last_complete(watermark), as_of.stream)
                    .map(drop)
            }
            _ => Err(unknown_change(delta)),
        }
    }

    fn clear(&mut self, input: usize) -> Result<()> {
        if input == 1 {
            self.table.clear()?;
            self.came.push(Delta {
                kind: CLEARED,
                rows: RecordBatch::new_empty(self.table.schema().clone()),
            });
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes() + self.waiting.bytes()
    }
}
