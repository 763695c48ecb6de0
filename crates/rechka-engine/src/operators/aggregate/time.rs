//! Time columns of any unit as microseconds, and back.
use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, PrimitiveArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    },
    buffer::{NullBuffer, ScalarBuffer},
    datatypes::{
        ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType,
    },
};

use crate::{EngineError, Result};

/// Times in microseconds since 1970.
pub(super) struct Times {
    /// Of the rows; without meaning where there is a NULL.
    pub values: ScalarBuffer<i64>,
    /// Which rows have none.
    pub nulls: Option<NullBuffer>,
    /// The type of the column.
    pub column_type: DataType,
}

impl Times {
    /// Of a timestamp column. Times that microseconds can't count are as far away as can be counted.
    pub fn new(column: &ArrayRef) -> Result<Self> {
        fn values<T: ArrowTimestampType>(column: &ArrayRef, micros: impl Fn(i64) -> i64) -> ScalarBuffer<i64> {
            column
                .as_primitive::<T>()
                .values()
                .iter()
                .map(|&value| micros(value))
                .collect()
        }
        let values = match column.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                values::<TimestampSecondType>(column, |value| value.saturating_mul(1_000_000))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                values::<TimestampMillisecondType>(column, |value| value.saturating_mul(1_000))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                column.as_primitive::<TimestampMicrosecondType>().values().clone()
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                values::<TimestampNanosecondType>(column, |value| value.div_euclid(1_000))
            }
            other => return Err(not_a_time(other)),
        };
        let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Times {
            values,
            nulls,
            column_type: column.data_type().clone(),
        })
    }

    /// The time of a row, if it has one.
    pub fn get(&self, row: usize) -> Option<i64> {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        (!is_null).then(|| self.values[row])
    }
}

/// A column of type `to`, a timestamp, from microseconds.
pub(super) fn from_micros(values: PrimitiveArray<TimestampMicrosecondType>, to: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = to else {
        return Err(not_a_time(to));
    };
    let zone = zone.clone();
    Ok(match unit {
        TimeUnit::Second => {
            let values: TimestampSecondArray = values.unary(|value| value.div_euclid(1_000_000));
            Arc::new(values.with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            let values: TimestampMillisecondArray = values.unary(|value| value.div_euclid(1_000));
            Arc::new(values.with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            let values: TimestampMicrosecondArray = values;
            Arc::new(values.with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            let values: TimestampNanosecondArray = values.unary(|value| value.saturating_mul(1_000));
            Arc::new(values.with_timezone_opt(zone))
        }
    })
}

fn not_a_time(found: &DataType) -> EngineError {
    EngineError::Query(format!(
        "windows need a column of type timestamp, and this one is {found}: write to_timestamp(…)"
    ))
}
