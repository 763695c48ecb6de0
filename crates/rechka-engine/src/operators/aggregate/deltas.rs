//! How changes of state are written.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema},
};

use super::{groups::batch, layout::Layout, panes::Pane};
use crate::{
    Result,
    operators::{Delta, unknown_change},
};

/// Groups (keys and states), each of its session.
pub(super) fn of_spans(
    kind: u8,
    starts: Int64Array,
    ends: Int64Array,
    groups: &RecordBatch,
    layout: &Layout,
) -> Result<Delta> {
    let bounds = [starts, ends].map(|bounds| Arc::new(bounds) as ArrayRef);
    let columns = bounds.into_iter().chain(groups.columns().iter().cloned()).collect();
    Ok(Delta {
        kind,
        rows: batch(&layout.deltas, columns, groups.num_rows())?,
    })
}

/// What [`of_spans`] wrote.
pub(super) fn spans_of(delta: &Delta, layout: &Layout) -> Result<(Int64Array, Int64Array, RecordBatch)> {
    let (starts, ends, groups) = keys_of(delta)?;
    Ok((starts, ends, batch(&layout.groups, groups, delta.rows.num_rows())?))
}

/// What [`of_keys`] wrote.
pub(super) fn keys_of(delta: &Delta) -> Result<(Int64Array, Int64Array, Vec<ArrayRef>)> {
    let [starts, ends, keys @ ..] = delta.rows.columns() else {
        return Err(unknown_change(delta));
    };
    let bounds = |column: &ArrayRef| {
        column
            .as_primitive_opt::<Int64Type>()
            .cloned()
            .ok_or_else(|| unknown_change(delta))
    };
    Ok((bounds(starts)?, bounds(ends)?, keys.to_vec()))
}

/// A time for each of some keys.
pub(super) fn of_keys(
    kind: u8,
    starts: Int64Array,
    ends: Int64Array,
    keys: &[ArrayRef],
    layout: &Layout,
) -> Result<Delta> {
    let bounds = [starts, ends].map(|bounds| Arc::new(bounds) as ArrayRef);
    let columns: Vec<_> = bounds.into_iter().chain(keys.iter().cloned()).collect();
    let schema = layout.deltas.project(&(0..columns.len()).collect::<Vec<_>>())?;
    Ok(Delta {
        kind,
        rows: RecordBatch::try_new(Arc::new(schema), columns)?,
    })
}

/// Groups (keys and states) of one pane or window.
pub(super) fn of_pane(kind: u8, pane: Pane, groups: &RecordBatch, layout: &Layout) -> Result<Delta> {
    let [starts, ends] = [pane.start, pane.end].map(|bound| Int64Array::from_value(bound, groups.num_rows()));
    of_spans(kind, starts, ends, groups, layout)
}

/// What [`of_pane`] wrote.
pub(super) fn pane_of(delta: &Delta, layout: &Layout) -> Result<(Pane, RecordBatch)> {
    let (starts, ends, groups) = spans_of(delta, layout)?;
    match (starts.values().first(), ends.values().first()) {
        (Some(&start), Some(&end)) => Ok((Pane { start, end }, groups)),
        _ => Err(unknown_change(delta)),
    }
}

/// The time until which windows are closed.
pub(super) fn of_time(kind: u8, until: i64) -> Result<Delta> {
    let schema = Schema::new(vec![Field::new("closed", DataType::Int64, false)]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_value(until, 1))])?;
    Ok(Delta { kind, rows })
}

/// What [`of_time`] wrote.
pub(super) fn time_of(delta: &Delta) -> Result<i64> {
    let column = delta
        .rows
        .columns()
        .first()
        .and_then(|column| column.as_primitive_opt::<Int64Type>());
    column
        .and_then(|column| column.values().first().copied())
        .ok_or_else(|| unknown_change(delta))
}
