//! Windows as columns: a row for each window that a row falls in.
use std::sync::Arc;

use arrow::{
    array::{Array, Int64Array, RecordBatch, UInt32Array, new_null_array},
    compute::{filter_record_batch, is_null, take_record_batch},
    datatypes::SchemaRef,
};
use rechka_sql::plan::Window;

use super::{
    Time,
    expressions::{microseconds, timestamps},
    stateless::Transform,
};
use crate::{EngineError, Result};

/// From the last moment of a window to its end, in microseconds.
const WINDOW_TIME: i64 = 1_000;

/// Appends `window_start`, `window_end` and `window_time`. A row without a time falls in no window: it goes to the late rows.
pub(super) struct AssignWindows {
    time: Option<usize>,
    window: Window,
    schema: SchemaRef,
}

impl AssignWindows {
    pub fn new(time: Option<usize>, window: Window, schema: SchemaRef) -> Result<Self> {
        if let Window::Session { .. } = window {
            return Err(EngineError::Query(
                "a row alone does not say in which session it falls".into(),
            ));
        }
        Ok(Self { time, window, schema })
    }
}

/// A row for each window: the number of the row that falls in it, its start and its end.
#[derive(Default)]
struct Assigned {
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl AssignWindows {
    fn times(&self, rows: &RecordBatch, time: Time) -> Result<Int64Array> {
        match self.time {
            Some(column) => microseconds(rows.column(column)),
            None => Ok(Int64Array::from_value(time.now, rows.num_rows())),
        }
    }

    fn assign(&self, times: &Int64Array) -> Assigned {
        let mut assigned = Assigned::default();
        for (row, time) in (0..).zip(times) {
            for (start, end) in time.into_iter().flat_map(|time| windows(self.window, time)) {
                assigned.rows.push(row);
                assigned.starts.push(start);
                assigned.ends.push(end);
            }
        }
        assigned
    }

    /// The rows without a time, with NULLs for the start and the end of a window.
    fn timeless(&self, rows: &RecordBatch, times: &Int64Array) -> Result<RecordBatch> {
        let rows = filter_record_batch(rows, &is_null(times)?)?;
        let columns: Vec<_> = (0..rows.num_columns() + 2).collect();
        let schema = Arc::new(self.schema.project(&columns)?);
        let mut columns = rows.columns().to_vec();
        let missing = schema.fields().iter().skip(columns.len());
        columns.extend(missing.map(|field| new_null_array(field.data_type(), rows.num_rows())));
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

impl Transform for AssignWindows {
    fn transform(&self, rows: &RecordBatch, time: Time, late: &mut Vec<RecordBatch>) -> Result<RecordBatch> {
        let times = self.times(rows, time)?;
        if times.null_count() > 0 {
            late.push(self.timeless(rows, &times)?);
        }
        let assigned = self.assign(&times);
        let mut columns = if assigned.rows.iter().copied().eq(0..rows.num_rows() as u32) {
            rows.columns().to_vec()
        } else {
            take_record_batch(rows, &UInt32Array::from(assigned.rows))?
                .columns()
                .to_vec()
        };
        let (starts, ends) = (Int64Array::from(assigned.starts), Int64Array::from(assigned.ends));
        let last: Int64Array = ends.unary(|end| end.saturating_sub(WINDOW_TIME));
        for times in [&starts, &ends, &last] {
            columns.push(timestamps(times, self.schema.field(columns.len()).data_type())?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn origins(&self, rows: &RecordBatch, time: Time) -> Result<Option<Vec<u32>>> {
        Ok(Some(self.assign(&self.times(rows, time)?).rows))
    }
}

/// The windows (start, end) in which a moment falls, in the order of their ends.
fn windows(window: Window, time: i64) -> impl Iterator<Item = (i64, i64)> {
    // The first window that may hold it, how many follow, and how far start and end move from one to the next.
    let (start, end, count, later_start, later_end) = match window {
        Window::Hop { size, slide, offset } => {
            let count = size / slide;
            let start = begin(time, slide, offset).saturating_sub(slide.saturating_mul(count - 1));
            (start, start.saturating_add(size), count, slide, slide)
        }
        Window::Cumulate { size, step, offset } => {
            let start = begin(time, size, offset);
            (start, start.saturating_add(step), size / step, 0, step)
        }
        Window::Session { .. } => (0, 0, 0, 0, 0),
    };
    let moved = |from: i64, by: i64, times: i64| from.saturating_add(by.saturating_mul(times));
    let windows = (0..count).map(move |number| (moved(start, later_start, number), moved(end, later_end, number)));
    windows.filter(move |(_, end)| *end > time)
}

/// The start of the interval of this length in which a moment falls.
fn begin(time: i64, length: i64, offset: i64) -> i64 {
    time.saturating_sub(time.saturating_sub(offset).rem_euclid(length))
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, TimestampMillisecondArray},
        datatypes::{DataType, Field, Schema, TimeUnit},
    };

    use super::*;

    const SECOND: i64 = 1_000_000;
    const TIME: Time = Time {
        watermark: i64::MIN,
        now: 25 * SECOND,
    };

    /// Rows at these milliseconds, with their windows.
    fn assigned(time: Option<usize>, window: Window, times: Vec<Option<i64>>) -> RecordBatch {
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
        let mut fields = vec![
            Field::new("n", DataType::Int64, true),
            Field::new("ts", timestamp.clone(), true),
        ];
        let numbers = Int64Array::from_iter_values(0..times.len() as i64);
        let schema = Arc::new(Schema::new(fields.clone()));
        let rows = RecordBatch::try_new(
            schema,
            vec![Arc::new(numbers), Arc::new(TimestampMillisecondArray::from(times))],
        );
        fields.extend(["window_start", "window_end", "window_time"].map(|n| Field::new(n, timestamp.clone(), true)));
        let assign = AssignWindows::new(time, window, Arc::new(Schema::new(fields))).unwrap();
        let (rows, mut late) = (rows.unwrap(), Vec::new());
        let assigned = assign.transform(&rows, TIME, &mut late).unwrap();
        let timeless = late.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(timeless, if time.is_some() { rows.column(1).null_count() } else { 0 });
        assigned
    }

    /// (row, start, end, time) of each row that comes out.
    fn listed(rows: &RecordBatch) -> Vec<(i64, i64, i64, i64)> {
        let column = |index: usize| match index {
            0 => rows
                .column(0)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap()
                .values()
                .to_vec(),
            _ => microseconds(rows.column(index))
                .unwrap()
                .iter()
                .map(|time| time.unwrap() / 1_000)
                .collect(),
        };
        let (numbers, starts, ends, times) = (column(0), column(2), column(3), column(4));
        (0..numbers.len())
            .map(|row| (numbers[row], starts[row], ends[row], times[row]))
            .collect()
    }

    #[test]
    fn a_row_falls_in_one_tumbling_window_and_a_row_without_time_in_none() {
        let tumble = Window::Hop {
            size: 10 * SECOND,
            slide: 10 * SECOND,
            offset: 2 * SECOND,
        };
        let rows = assigned(Some(1), tumble, vec![Some(12_000), None, Some(11_999), Some(-1)]);
        let expected = [
            (0, 12_000, 22_000, 21_999),
            (2, 2_000, 12_000, 11_999),
            (3, -8_000, 2_000, 1_999),
        ];
        assert_eq!(listed(&rows), expected);
    }

    #[test]
    fn windows_in_processing_time_are_those_of_the_epoch() {
        let tumble = Window::Hop {
            size: 10 * SECOND,
            slide: 10 * SECOND,
            offset: 0,
        };
        assert_eq!(
            listed(&assigned(None, tumble, vec![None])),
            [(0, 20_000, 30_000, 29_999)]
        );
    }

    #[test]
    fn a_row_falls_in_every_hop_that_covers_it() {
        let hop = Window::Hop {
            size: 10 * SECOND,
            slide: 5 * SECOND,
            offset: 0,
        };
        let rows = assigned(Some(1), hop, vec![Some(5_000)]);
        assert_eq!(listed(&rows), [(0, 0, 10_000, 9_999), (0, 5_000, 15_000, 14_999)]);
    }

    #[test]
    fn a_row_falls_in_the_cumulating_windows_that_end_after_it() {
        let cumulate = Window::Cumulate {
            size: 15 * SECOND,
            step: 5 * SECOND,
            offset: 0,
        };
        let rows = assigned(Some(1), cumulate, vec![Some(20_000), Some(14_999)]);
        assert_eq!(
            listed(&rows),
            [
                (0, 15_000, 25_000, 24_999),
                (0, 15_000, 30_000, 29_999),
                (1, 0, 15_000, 14_999)
            ]
        );
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let hop = Window::Hop {
            size: 10 * SECOND,
            slide: 5 * SECOND,
            offset: -SECOND,
        };
        assigned(Some(1), hop, vec![Some(i64::MAX), Some(i64::MIN)]);
    }
}
