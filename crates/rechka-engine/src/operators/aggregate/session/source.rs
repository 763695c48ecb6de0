//! What sessions are made of: rows, or the sessions of the stage before.
use arrow::{
    array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use rechka_sql::plan::{Aggregate, Expr, Phase};

use super::pieces::{Content, Pieces};
use crate::{
    EngineError, Result,
    operators::{
        Output,
        aggregate::{
            functions::Functions,
            late::LateRows,
            panes::{FAR, Span},
        },
        expressions::{evaluate, microseconds},
    },
};

/// From where pieces of sessions come.
pub(in crate::operators::aggregate) enum Source {
    /// Rows; the time is that of the column, or the clock's.
    Rows {
        keys: Vec<Expr>,
        time: Option<usize>,
        gap: i64,
    },
    /// Sessions of an epoch before an exchange: start, end, so many keys, states. By the clock, when they come counts.
    Partials { keys: usize, gap: i64, by_clock: bool },
}

impl Source {
    pub fn new(aggregate: &Aggregate, time: Option<usize>, gap: i64) -> Result<Self> {
        if !(1..=FAR).contains(&gap) {
            return Err(EngineError::Query(format!("the gap of a session can't be {gap} µs")));
        }
        Ok(match aggregate.phase {
            Phase::Final => Source::Partials {
                keys: aggregate.keys.len(),
                gap,
                by_clock: time.is_none(),
            },
            Phase::Single | Phase::Partial => Source::Rows {
                keys: aggregate.keys.clone(),
                time,
                gap,
            },
        })
    }

    /// How far apart rows of a session are at most.
    pub fn gap(&self) -> i64 {
        match self {
            Source::Rows { gap, .. } | Source::Partials { gap, .. } => *gap,
        }
    }

    /// The pieces that a batch makes. A row without time goes to the late ones.
    pub(super) fn pieces(
        &self,
        rows: &RecordBatch,
        now: i64,
        functions: &Functions,
        out: &mut Output,
    ) -> Result<Pieces> {
        match self {
            Source::Rows {
                keys,
                time: column,
                gap,
            } => {
                let (rows, spans) = match column {
                    None => (rows.clone(), vec![span(now, *gap); rows.num_rows()]),
                    Some(column) => {
                        let (rows, times) = timed(rows, *column, out)?;
                        (rows, times.values().iter().map(|&time| span(time, *gap)).collect())
                    }
                };
                Ok(Pieces {
                    keys: evaluate(keys, &rows)?,
                    spans,
                    content: Content::Rows {
                        time: column.map(|column| rows.column(column).data_type().clone()),
                        arguments: functions.arguments(&rows)?,
                        rows,
                    },
                })
            }
            Source::Partials { keys, gap, by_clock } => {
                let bounds = |column: usize| -> &Int64Array { rows.column(column).as_primitive::<Int64Type>() };
                let spans = bounds(0).values().iter().zip(bounds(1).values());
                let spans = match by_clock {
                    true => vec![span(now, *gap); rows.num_rows()],
                    false => spans.map(|(&start, &end)| Span { start, end }).collect(),
                };
                let (keys, states) = rows.columns()[2..].split_at(*keys);
                Ok(Pieces {
                    keys: keys.to_vec(),
                    spans,
                    content: Content::States(states.to_vec()),
                })
            }
        }
    }
}

/// The rows that have a time, and their times; the others go to the late ones.
fn timed(rows: &RecordBatch, column: usize, out: &mut Output) -> Result<(RecordBatch, Int64Array)> {
    let column = rows.column(column);
    let times = microseconds(column)?;
    let Some(nulls) = times.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok((rows.clone(), times));
    };
    let mut late = LateRows::new(rows, column.data_type());
    for row in (0..rows.num_rows()).filter(|row| nulls.is_null(*row)) {
        late.push(row, None, out)?;
    }
    late.flush(out)?;
    let valid: BooleanArray = nulls.iter().map(Some).collect();
    Ok((
        filter_record_batch(rows, &valid)?,
        times.iter().flatten().map(Some).collect(),
    ))
}

/// The session of one row.
fn span(time: i64, gap: i64) -> Span {
    let start = time.clamp(-FAR, FAR);
    Span {
        start,
        end: start + gap,
    }
}
