//! The operators of streaming queries: synchronous state machines without I/O and without a clock. The same calls give the same
//! output and the same state.
//!
//! In each epoch the task calls [`Operator::push`] for what was read, with the watermark of the epoch before; then, once,
//! [`Operator::end_epoch`] with the new one, from the inputs to the output, what comes out being pushed on before the next operator's
//! epoch ends; then [`Operator::take_delta`]. If the epoch is not committed, the operator is thrown away and a new one is restored.
mod aggregate;
mod assign;
mod condition;
pub(crate) mod expressions;
mod failing;
mod join;
mod kept;
mod keys;
mod lookup;
mod map;
mod open;
#[cfg(test)]
mod speed;
mod stateless;
#[cfg(test)]
mod testing;
mod top;
mod union;
mod unnest;
mod watermark;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use rechka_sql::plan::{Node, Operation};

use self::{
    assign::AssignWindows, join::Join, lookup::Lookup, map::Map, stateless::Stateless, union::Union, unnest::Unnest,
};
use crate::{EngineError, Result};

pub use failing::Dead;
pub(crate) use failing::work_on;

/// The time an epoch knows of, in microseconds since 1970. An operator's watermark is the least of its inputs', and what it puts
/// out has its watermark less the operation's delay ([`Time::delayed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// No row before this is expected any more. `i64::MIN`: nothing is known yet; `i64::MAX`: the input has ended.
    pub watermark: i64,
    /// The wall clock, as read when the epoch began: for windows in processing time.
    pub now: i64,
}

impl Time {
    /// The time behind an operator with this delay.
    pub fn delayed(self, delay: i64) -> Self {
        let watermark = if self.watermark == i64::MAX {
            i64::MAX
        } else {
            self.watermark.saturating_sub(delay)
        };
        Self { watermark, ..self }
    }
}

/// What comes out of an operator.
#[derive(Debug, Default)]
pub struct Output {
    /// Rows, in order.
    pub rows: Vec<RecordBatch>,
    /// Rows that came too late for a window (then with `window_start` and `window_end` of the window they missed, a row for each;
    /// rows that carry their window are written as they are), or for a partner. They go to the relation `<query>.late`. Of what was
    /// aggregated in part before an exchange, and came too late for a window behind it, the result stands for the rows.
    pub late: Vec<RecordBatch>,
    /// Rows that were left out at the end of the epoch because something could not be computed for them: of an aggregation the keys
    /// (and the window).
    pub dead: Vec<Dead>,
}

/// A change of state, as rows. An operator that gets all its deltas again, in order, is in the same state.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// What kind of change, the operator's own number.
    pub kind: u8,
    /// What changed.
    pub rows: RecordBatch,
}

/// A stateful (or stateless) operator.
pub trait Operator: Send {
    /// Takes rows of an input. Rows that can be put out at once are; `time.watermark` is the one of the epoch before. If this fails by
    /// an [`EngineError::Expression`], the operator is as it was before, and what is in `out` does not count.
    fn push(&mut self, input: usize, rows: &RecordBatch, time: Time, out: &mut Output) -> Result<()>;
    /// Of each row that a push of these rows puts out, which of them it was made of; none where that can't be told.
    fn origins(&self, _rows: &RecordBatch, _time: Time) -> Result<Option<Vec<u32>>> {
        Ok(None)
    }
    /// Ends the epoch: puts out what `time` closes, and forgets what it makes superfluous. Watermarks never go back.
    fn end_epoch(&mut self, time: Time, out: &mut Output) -> Result<()>;
    /// What changed since the last call: the changelog of the epoch.
    fn take_delta(&mut self) -> Result<Vec<Delta>>;
    /// The whole state as deltas that restore it from nothing. What changed up to now counts as taken.
    fn snapshot(&mut self) -> Result<Vec<Delta>>;
    /// Takes up a change that [`Operator::take_delta`] or [`Operator::snapshot`] gave.
    fn restore(&mut self, delta: &Delta) -> Result<()>;
    /// Says whether stages behind an exchange may have a later watermark than this one: its input was idle, and is not worked off
    /// since. They have to judge rows one by one then.
    fn lag_behind(&mut self, _lags: bool) {}
    /// Forgets what came of a table, which begins anew.
    fn clear(&mut self, _input: usize) -> Result<()> {
        Ok(())
    }
    /// Bytes of memory that the state takes, roughly.
    fn state_bytes(&self) -> usize;
}

/// The operator of a node whose inputs have these columns.
pub fn build_node(node: &Node, inputs: &[SchemaRef]) -> Result<Box<dyn Operator>> {
    let schema = node.schema.clone();
    Ok(match &node.operation {
        Operation::Map { filter, columns } => Box::new(Stateless(Map::new(filter.as_ref(), columns, schema)?)),
        Operation::AssignWindows { time, window } => Box::new(Stateless(AssignWindows::new(*time, *window, schema)?)),
        Operation::Unnest { column, preserve_nulls } => Box::new(Stateless(Unnest {
            column: *column,
            preserve_nulls: *preserve_nulls,
            schema,
        })),
        Operation::Aggregate(aggregate) => match inputs {
            [input] => aggregate::build(aggregate, input, &schema)?,
            _ => return Err(EngineError::Query("an aggregation has one input".into())),
        },
        Operation::Join(join) => Box::new(Join::new(join, inputs, schema)?),
        Operation::Lookup(lookup) => Box::new(Lookup::new(lookup, inputs, schema)?),
        Operation::TopN(top) => top::build(top, inputs, schema)?,
        Operation::Union => Box::new(Stateless(Union { schema })),
        Operation::Transcribe(_) => {
            return Err(EngineError::Query(
                "speech is no rows: recognition is a stage of its own".into(),
            ));
        }
    })
}

/// A change that the operator never gave.
fn unknown_change(delta: &Delta) -> EngineError {
    EngineError::Query(format!(
        "the state has a change of kind {}, which this operator does not know",
        delta.kind
    ))
}
