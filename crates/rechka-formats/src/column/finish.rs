//! From columns under construction to arrays.
use std::{mem::take, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Int64Array, ListArray, PrimitiveArray,
        StringArray, StructArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::cast,
    datatypes::{
        DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt64Type,
    },
};

use super::{Column, Data, data::Pieces};

impl Column {
    /// The array of all values since the last time.
    #[expect(clippy::expect_used, reason = "values were checked when they were pushed")]
    pub(crate) fn finish(&mut self) -> ArrayRef {
        let len = self.len();
        let nulls = self.nulls.finish();
        let array: ArrayRef = match &mut self.data {
            Data::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Data::Integer { values, .. } => primitive::<Int64Type>(take(values).into(), nulls),
            Data::Unsigned(values) => primitive::<UInt64Type>(take(values).into(), nulls),
            Data::Float(values) => primitive::<Float64Type>(take(values).into(), nulls),
            Data::Decimal { values, .. } => {
                let values = PrimitiveArray::<Decimal128Type>::new(take(values).into(), nulls);
                return Arc::new(values.with_data_type(self.data_type.clone()));
            }
            Data::Instant { values, .. } => return instants(take(values), nulls, &self.data_type),
            Data::Calendar { values, .. } => {
                let values: ArrayRef = Arc::new(Int64Array::new(take(values).into(), nulls));
                match self.data_type {
                    DataType::Time64(_) => values,
                    _ => cast(&values, &DataType::Int32).expect("days and seconds of a day fit"),
                }
            }
            Data::Text(pieces) => {
                let (offsets, bytes) = buffers(pieces);
                Arc::new(StringArray::try_new(offsets, bytes, nulls).expect("the text was checked"))
            }
            Data::Bytes(pieces) => {
                let (offsets, bytes) = buffers(pieces);
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            Data::List { ends, element } => {
                let DataType::List(field) = &self.data_type else {
                    unreachable!("lists are made for lists");
                };
                Arc::new(ListArray::new(field.clone(), offsets(ends), element.finish(), nulls))
            }
            Data::Struct(group) => {
                let columns = group.columns.iter_mut().map(Column::finish).collect();
                let array = StructArray::try_new_with_length(group.fields.clone(), columns, nulls, len);
                Arc::new(array.expect("columns are of one length"))
            }
        };
        match array.data_type() == &self.data_type {
            true => array,
            false => cast(&array, &self.data_type).expect("values are in the range of their type"),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: ScalarBuffer<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values, nulls))
}

fn instants(values: Vec<i64>, nulls: Option<NullBuffer>, data_type: &DataType) -> ArrayRef {
    fn of<T: ArrowPrimitiveType<Native = i64>>(
        values: Vec<i64>,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
    ) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type.clone()))
    }
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => of::<TimestampSecondType>(values, nulls, data_type),
        DataType::Timestamp(TimeUnit::Millisecond, _) => of::<TimestampMillisecondType>(values, nulls, data_type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => of::<TimestampMicrosecondType>(values, nulls, data_type),
        _ => of::<TimestampNanosecondType>(values, nulls, data_type),
    }
}

fn buffers(pieces: &mut Pieces) -> (OffsetBuffer<i32>, Buffer) {
    (offsets(&mut pieces.ends), take(&mut pieces.bytes).into())
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(offsets.into())
}
