//! The values of an array one by one, for formats of text.
//!
//! The many types of Arrow become a few here, once for a whole array, so that the loop over the rows has few cases.
use std::io::Write;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, ListArray, PrimitiveArray, RecordBatch,
        StringArray, StringViewArray, UInt64Array,
    },
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimeUnit, UInt64Type},
    error::ArrowError,
};

use crate::{FormatError, Result, time};

/// The values of an array.
#[derive(Debug)]
pub(crate) struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null,
    Boolean(BooleanArray),
    Integer(Int64Array),
    Unsigned(UInt64Array),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    /// Decimals, written out.
    Decimal(StringArray),
    Instant {
        values: Int64Array,
        unit: TimeUnit,
        zoned: bool,
    },
    Text(StringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    List {
        list: ListArray,
        elements: Box<Cells>,
    },
    Struct(Vec<(String, Cells)>),
}

/// One value.
#[derive(Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float32(f32),
    Float64(f64),
    Decimal(&'a str),
    Instant(time::Instant),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Elements, and which of them.
    List(&'a Cells, std::ops::Range<usize>),
    Struct(&'a [(String, Cells)]),
}

impl Cells {
    /// The values of all columns.
    pub(crate) fn of(rows: &RecordBatch, format: &'static str) -> Result<Vec<Self>> {
        let cells = rows
            .columns()
            .iter()
            .map(Self::new)
            .collect::<std::result::Result<_, _>>();
        cells.map_err(|error| FormatError::Encode {
            format,
            reason: error.to_string(),
        })
    }

    /// The values of `array`; an error if its type has no place in text.
    pub(crate) fn new(array: &ArrayRef) -> std::result::Result<Self, ArrowError> {
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
            DataType::UInt64 => Values::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            data_type if data_type.is_integer() => Values::Integer(integers(array)?),
            DataType::Float64 => Values::Float64(array.as_primitive().clone()),
            data_type if data_type.is_floating() => {
                Values::Float32(cast(array, &DataType::Float32)?.as_primitive().clone())
            }
            data_type if data_type.is_decimal() => Values::Decimal(text(array)?),
            DataType::Timestamp(unit, zone) => Values::Instant {
                values: integers(array)?,
                unit: *unit,
                zoned: zone.is_some(),
            },
            DataType::Utf8View => Values::TextView(array.as_string_view().clone()),
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_) => Values::Text(text(array)?),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Values::Bytes(cast(array, &DataType::Binary)?.as_binary().clone())
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>().clone();
                let elements = Box::new(Self::new(list.values())?);
                Values::List { list, elements }
            }
            DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
                return Self::new(&cast(array, &DataType::List(element.clone()))?);
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let cells = columns.map(|(field, column)| Ok((field.name().clone(), Self::new(column)?)));
                Values::Struct(cells.collect::<std::result::Result<_, ArrowError>>()?)
            }
            DataType::Dictionary(_, value) => return Self::new(&cast(array, value)?),
            other => return Err(ArrowError::NotYetImplemented(format!("{other} as text"))),
        };
        Ok(Self {
            nulls: array.logical_nulls(),
            values,
        })
    }

    /// The value of a row.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Cell<'_> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Cell::Null;
        }
        match &self.values {
            Values::Null => Cell::Null,
            Values::Boolean(values) => Cell::Boolean(values.value(row)),
            Values::Integer(values) => Cell::Integer(values.value(row)),
            Values::Unsigned(values) => Cell::Unsigned(values.value(row)),
            Values::Float32(values) => Cell::Float32(values.value(row)),
            Values::Float64(values) => Cell::Float64(values.value(row)),
            Values::Decimal(values) => Cell::Decimal(values.value(row)),
            Values::Instant { values, unit, zoned } => {
                Cell::Instant(time::Instant::new(values.value(row), *unit, *zoned))
            }
            Values::Text(values) => Cell::Text(values.value(row)),
            Values::TextView(values) => Cell::Text(values.value(row)),
            Values::Bytes(values) => Cell::Bytes(values.value(row)),
            Values::List { list, elements } => {
                let ends = &list.value_offsets()[row..row + 2];
                Cell::List(elements, ends[0] as usize..ends[1] as usize)
            }
            Values::Struct(fields) => Cell::Struct(fields),
        }
    }
}

impl Cell<'_> {
    /// Writes a number in digits (times too: milliseconds since 1970), or `true` or `false`. False if it is none of them, or not finite.
    pub(crate) fn write_number(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Boolean(true) => out.extend_from_slice(b"true"),
            Self::Boolean(false) => out.extend_from_slice(b"false"),
            Self::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Unsigned(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Instant(instant) => {
                out.extend_from_slice(itoa::Buffer::new().format(instant.in_units(1_000)).as_bytes())
            }
            Self::Decimal(digits) => out.extend_from_slice(digits.as_bytes()),
            // Writing to a vector does not fail.
            Self::Float32(value) if value.is_finite() => return write!(out, "{value:?}").is_ok(),
            Self::Float64(value) if value.is_finite() => return write!(out, "{value:?}").is_ok(),
            _ => return false,
        }
        true
    }

    /// How a number is written that has no digits: as JSON text.
    pub(crate) fn not_finite(&self) -> Option<&'static str> {
        let value = match self {
            Self::Float32(value) => f64::from(*value),
            Self::Float64(value) => *value,
            _ => return None,
        };
        match value {
            value if value.is_nan() => Some("\"NaN\""),
            f64::INFINITY => Some("\"Infinity\""),
            f64::NEG_INFINITY => Some("\"-Infinity\""),
            _ => None,
        }
    }
}

fn integers(array: &ArrayRef) -> std::result::Result<Int64Array, ArrowError> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn text(array: &ArrayRef) -> std::result::Result<StringArray, ArrowError> {
    Ok(cast(array, &DataType::Utf8)?.as_string().clone())
}
