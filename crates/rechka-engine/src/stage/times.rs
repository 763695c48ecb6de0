//! Event times.
use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{cast, max},
    datatypes::{DataType, Int64Type, TimeUnit},
};

use crate::Result;

/// A column of timestamps, counted in microseconds.
pub(super) struct Times {
    counts: ArrayRef,
    unit: TimeUnit,
}

impl Times {
    pub fn of(column: &ArrayRef) -> Result<Self> {
        let unit = match column.data_type() {
            DataType::Timestamp(unit, _) => *unit,
            _ => TimeUnit::Microsecond,
        };
        Ok(Times {
            counts: cast(column, &DataType::Int64)?,
            unit,
        })
    }

    pub fn all_known(&self) -> bool {
        self.counts.null_count() == 0
    }

    pub fn latest(&self) -> Option<i64> {
        max(self.counts.as_primitive::<Int64Type>()).map(|count| in_micros(count, self.unit))
    }

    pub fn micros(&self, row: usize) -> Option<i64> {
        let counts = self.counts.as_primitive::<Int64Type>();
        (!counts.is_null(row)).then(|| in_micros(counts.value(row), self.unit))
    }
}

fn in_micros(count: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => count.saturating_mul(1_000_000),
        TimeUnit::Millisecond => count.saturating_mul(1000),
        TimeUnit::Microsecond => count,
        TimeUnit::Nanosecond => count.div_euclid(1000),
    }
}
