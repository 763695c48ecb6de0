//! Lists taken apart: a row for each element.
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array},
    compute::take,
    datatypes::{DataType, SchemaRef},
};

use super::{Time, stateless::Transform};
use crate::{EngineError, Result};

/// Replaces a list by its elements (a map by its entries), each in a row of its own.
pub(super) struct Unnest {
    pub column: usize,
    pub preserve_nulls: bool,
    pub schema: SchemaRef,
}

impl Unnest {
    /// The elements of all lists; and of each row that comes out the row that it is made of, and its element.
    fn elements(&self, rows: &RecordBatch) -> Result<(ArrayRef, Vec<u32>, Vec<Option<u64>>)> {
        let list = rows.column(self.column);
        let (elements, ranges) = ranges(list)?;
        let (mut indices, mut places) = (Vec::new(), Vec::new());
        for (index, range) in (0..).zip(ranges) {
            let range = if list.is_null(index as usize) { 0..0 } else { range };
            if range.is_empty() && self.preserve_nulls {
                indices.push(index);
                places.push(None);
            }
            for place in range {
                indices.push(index);
                places.push(Some(place as u64));
            }
        }
        Ok((elements, indices, places))
    }
}

impl Transform for Unnest {
    fn transform(&self, rows: &RecordBatch, _time: Time, _late: &mut Vec<RecordBatch>) -> Result<RecordBatch> {
        let (elements, indices, places) = self.elements(rows)?;
        let (indices, places) = (UInt32Array::from(indices), UInt64Array::from(places));
        let columns = rows.columns().iter().enumerate().map(|(number, column)| match number {
            number if number == self.column => take(&elements, &places, None),
            _ => take(column, &indices, None),
        });
        Ok(RecordBatch::try_new(
            self.schema.clone(),
            columns.collect::<Result<_, _>>()?,
        )?)
    }

    fn origins(&self, rows: &RecordBatch, _time: Time) -> Result<Option<Vec<u32>>> {
        self.elements(rows).map(|(_, rows, _)| Some(rows))
    }
}

type Ranges = Vec<std::ops::Range<usize>>;

/// All elements, and those of each list.
fn ranges(list: &ArrayRef) -> Result<(ArrayRef, Ranges)> {
    fn between<T: Copy + TryInto<usize>>(offsets: &[T]) -> Ranges {
        let place = |offset: T| offset.try_into().unwrap_or(0);
        offsets.windows(2).map(|pair| place(pair[0])..place(pair[1])).collect()
    }
    Ok(match list.data_type() {
        DataType::List(_) => {
            let list = list.as_list::<i32>();
            (list.values().clone(), between(list.offsets()))
        }
        DataType::LargeList(_) => {
            let list = list.as_list::<i64>();
            (list.values().clone(), between(list.offsets()))
        }
        DataType::FixedSizeList(_, size) => {
            let (list, size) = (list.as_fixed_size_list(), *size as usize);
            (
                list.values().clone(),
                (0..list.len()).map(|row| row * size..(row + 1) * size).collect(),
            )
        }
        DataType::Map(..) => {
            let map = list.as_map();
            (std::sync::Arc::new(map.entries().clone()), between(map.offsets()))
        }
        other => return Err(EngineError::Query(format!("UNNEST takes a list or a map, not {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Int64Array, ListArray},
        datatypes::{Field, Int64Type, Schema},
    };

    use super::{super::testing::numbers, *};

    const TIME: Time = Time {
        watermark: i64::MIN,
        now: 0,
    };

    fn unnested(preserve_nulls: bool) -> RecordBatch {
        let lists = [
            Some(vec![Some(9)]),
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(2)]),
        ];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![0, 10, 20, 30, 40]));
        // A slice, so that offsets do not begin at 0.
        let rows = RecordBatch::try_from_iter([("k", keys), ("v", lists)])
            .unwrap()
            .slice(1, 4);
        let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, true));
        let unnest = Unnest {
            column: 1,
            preserve_nulls,
            schema: Arc::new(Schema::new(fields.to_vec())),
        };
        unnest.transform(&rows, TIME, &mut Vec::new()).unwrap()
    }

    #[test]
    fn each_element_has_a_row() {
        let expected = numbers([
            ("k", vec![Some(10), Some(10), Some(40)]),
            ("v", vec![Some(1), None, Some(2)]),
        ]);
        assert_eq!(unnested(false), expected);
    }

    #[test]
    fn empty_and_missing_lists_give_a_row_with_null_when_asked_to() {
        let keys = [Some(10), Some(10), Some(20), Some(30), Some(40)];
        let expected = numbers([("k", keys.to_vec()), ("v", vec![Some(1), None, None, None, Some(2)])]);
        assert_eq!(unnested(true), expected);
    }
}
