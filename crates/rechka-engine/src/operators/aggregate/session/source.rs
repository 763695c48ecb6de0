//! What sessions are made of: rows, or the sessions of the stage before.
use arrow::{
    array::{AsArray, Int64Array, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::Int64Type,
};
use rechka_sql::plan::{Aggregate, Expr, Phase};

use super::local::{Content, Local, Pieces};
use crate::{
    EngineError, Result,
    operators::{
        Output, Time,
        aggregate::{
            functions::evaluate,
            late::LateRows,
            panes::{FAR, Span},
            time::Times,
        },
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

    /// Brings a batch into the sessions of the epoch. A row without time goes to the late ones.
    pub(super) fn push(
        &self,
        rows: &RecordBatch,
        time: Time,
        watermark: i64,
        local: &mut Local,
        out: &mut Output,
    ) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        match self {
            Source::Rows {
                keys,
                time: column,
                gap,
            } => {
                let (rows, spans) = match column {
                    None => (rows.clone(), vec![span(time.now, *gap); rows.num_rows()]),
                    Some(column) => {
                        let times = Times::new(rows.column(*column))?;
                        let spans = times.values.iter().map(|&time| span(time, *gap));
                        match &times.nulls {
                            None => (rows.clone(), spans.collect()),
                            Some(nulls) => {
                                let mut late = LateRows::new(rows, &times.column_type);
                                for row in (0..rows.num_rows()).filter(|row| nulls.is_null(*row)) {
                                    late.push(row, (None, None), out)?;
                                }
                                late.flush(out)?;
                                let valid: UInt32Array = nulls.valid_indices().map(|row| Some(row as u32)).collect();
                                let spans = spans.zip(nulls).filter(|(_, valid)| *valid).map(|(span, _)| span);
                                (take_record_batch(rows, &valid)?, spans.collect())
                            }
                        }
                    }
                };
                let time = column.map(|column| rows.schema_ref().field(column).data_type().clone());
                let keys = keys
                    .iter()
                    .map(|key| evaluate(key, &rows))
                    .collect::<Result<Vec<_>>>()?;
                local.add(
                    Pieces {
                        keys,
                        spans,
                        content: Content::Rows(rows, time),
                    },
                    watermark,
                )
            }
            Source::Partials { keys, gap, by_clock } => {
                let bounds = |column: usize| -> &Int64Array { rows.column(column).as_primitive::<Int64Type>() };
                let spans = bounds(0).values().iter().zip(bounds(1).values());
                let spans = match by_clock {
                    true => vec![span(time.now, *gap); rows.num_rows()],
                    false => spans.map(|(&start, &end)| Span { start, end }).collect(),
                };
                let (keys, states) = rows.columns()[2..].split_at(*keys);
                local.add(
                    Pieces {
                        keys: keys.to_vec(),
                        spans,
                        content: Content::States(states.to_vec()),
                    },
                    watermark,
                )
            }
        }
    }
}

/// The session of one row.
fn span(time: i64, gap: i64) -> Span {
    let start = time.clamp(-FAR, FAR);
    Span {
        start,
        end: start + gap,
    }
}
