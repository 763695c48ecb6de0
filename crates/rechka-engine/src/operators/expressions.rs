//! Expressions over batches.
use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
    datatypes::{
        DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
};
use datafusion::{
    common::tree_node::{Transformed, TransformedResult, TreeNode},
    physical_expr::{expressions::Column, utils::collect_columns},
};
use rechka_sql::plan::Expr;

use crate::{EngineError, Result};

/// What the expressions give for each row.
pub(crate) fn evaluate(expressions: &[Expr], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    expressions.iter().map(|expression| value(expression, rows)).collect()
}

fn value(expression: &Expr, rows: &RecordBatch) -> Result<ArrayRef> {
    let values = expression.evaluate(rows);
    let values = values.and_then(|values| values.into_array(rows.num_rows()));
    values.map_err(|error| EngineError::Expression(error.strip_backtrace()))
}

/// For which rows the condition is true, or unknown (NULL).
pub(super) fn condition(condition: &Expr, rows: &RecordBatch) -> Result<BooleanArray> {
    let values = value(condition, rows)?;
    let values = values.as_boolean_opt();
    values
        .cloned()
        .ok_or_else(|| EngineError::Query(format!("the condition {condition} is not a Boolean")))
}

/// Whether an expression may give something else when it is asked again: `random()`, the clock.
pub(super) fn is_volatile(expression: &Expr) -> Result<bool> {
    Ok(expression.exists(|part| Ok(part.is_volatile_node()))?)
}

/// Expressions rewritten for batches that have only the columns which they use.
#[derive(Debug)]
pub(super) struct Narrowed {
    /// The columns, ascending.
    pub columns: Vec<usize>,
    /// The expressions over them.
    pub expressions: Vec<Expr>,
}

impl Narrowed {
    pub fn new(expressions: &[Expr]) -> Result<Self> {
        let mut columns: Vec<_> = expressions
            .iter()
            .flat_map(collect_columns)
            .map(|column| column.index())
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let place = |index| columns.binary_search(&index).unwrap_or(index);
        let expressions = expressions
            .iter()
            .map(|expression| with_columns(expression, place))
            .collect::<Result<_>>()?;
        Ok(Self { columns, expressions })
    }
}

/// The expression with its columns moved.
pub(super) fn with_columns(expression: &Expr, place: impl Fn(usize) -> usize) -> Result<Expr> {
    let moved = Arc::clone(expression).transform_down(|part| {
        Ok(match part.downcast_ref::<Column>() {
            Some(column) => Transformed::yes(Arc::new(Column::new(column.name(), place(column.index()))) as Expr),
            None => Transformed::no(part),
        })
    });
    Ok(moved.data()?)
}

/// A column of timestamps in microseconds, rounded down.
pub(super) fn microseconds(column: &ArrayRef) -> Result<Int64Array> {
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => column
            .as_primitive::<TimestampSecondType>()
            .unary(|time| time.saturating_mul(1_000_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => column
            .as_primitive::<TimestampMillisecondType>()
            .unary(|time| time.saturating_mul(1_000)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => column
            .as_primitive::<TimestampMicrosecondType>()
            .reinterpret_cast::<Int64Type>(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => column
            .as_primitive::<TimestampNanosecondType>()
            .unary(|time| time.div_euclid(1_000)),
        other => return Err(EngineError::Query(format!("a time must be a timestamp, not {other}"))),
    })
}

/// A column of timestamps of this type from microseconds, rounded down.
pub(super) fn timestamps(microseconds: &Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return Err(EngineError::Query(format!(
            "a time must be a timestamp, not {data_type}"
        )));
    };
    let zone = zone.clone();
    Ok(match unit {
        TimeUnit::Second => Arc::new(
            microseconds
                .unary::<_, TimestampSecondType>(|time| time.div_euclid(1_000_000))
                .with_timezone_opt(zone),
        ),
        TimeUnit::Millisecond => Arc::new(
            microseconds
                .unary::<_, TimestampMillisecondType>(|time| time.div_euclid(1_000))
                .with_timezone_opt(zone),
        ),
        TimeUnit::Microsecond => Arc::new(
            microseconds
                .reinterpret_cast::<TimestampMicrosecondType>()
                .with_timezone_opt(zone),
        ),
        TimeUnit::Nanosecond => Arc::new(
            microseconds
                .unary::<_, TimestampNanosecondType>(|time| time.saturating_mul(1_000))
                .with_timezone_opt(zone),
        ),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray};

    use super::*;

    #[test]
    fn times_of_any_unit_are_microseconds_rounded_down() {
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1_999), None, Some(-1)]));
        assert_eq!(
            microseconds(&column).unwrap(),
            Int64Array::from(vec![Some(1), None, Some(-1)])
        );
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![7, i64::MAX]));
        assert_eq!(microseconds(&column).unwrap(), Int64Array::from(vec![7_000, i64::MAX]));
    }

    #[test]
    fn microseconds_become_the_type_of_the_column() {
        let times = Int64Array::from(vec![Some(-1), None, Some(1_999)]);
        let zone = Some("+01:00".into());
        let expected = TimestampMillisecondArray::from(vec![Some(-1), None, Some(1)]).with_timezone_opt(zone.clone());
        let column = timestamps(&times, &DataType::Timestamp(TimeUnit::Millisecond, zone)).unwrap();
        assert_eq!(column.as_primitive::<TimestampMillisecondType>(), &expected);
        assert!(timestamps(&times, &DataType::Int64).is_err());
    }
}
