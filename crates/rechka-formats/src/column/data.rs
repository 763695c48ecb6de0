//! The values of a column, by what they are.
use arrow::{
    array::BooleanBufferBuilder,
    compute::kernels::cast_utils::{Parser, parse_decimal},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Field, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
        Time64NanosecondType, TimeUnit,
    },
};

use super::{Column, Group};
use crate::{FormatError, Result, time::Instants};

/// Values, also where the column is NULL.
#[derive(Debug)]
pub(crate) enum Data {
    Boolean(BooleanBufferBuilder),
    Integer {
        values: Vec<i64>,
        least: i64,
        greatest: i64,
    },
    Unsigned(Vec<u64>),
    Float(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Text(Pieces),
    Bytes(Pieces),
    Instant {
        values: Vec<i64>,
        instants: Instants,
    },
    /// Dates and times of day.
    Calendar {
        values: Vec<i64>,
        parse: fn(&str) -> Option<i64>,
    },
    List {
        ends: Vec<i32>,
        element: Box<Column>,
    },
    Struct(Group),
}

impl Data {
    pub(super) fn of(field: &Field, format: &'static str) -> Result<Self> {
        let integer = |least, greatest| Self::Integer {
            values: Vec::new(),
            least,
            greatest,
        };
        let calendar = |parse| Self::Calendar {
            values: Vec::new(),
            parse,
        };
        let unsupported = |instead| FormatError::Unsupported {
            format,
            column: field.name().clone(),
            data_type: field.data_type().clone(),
            instead,
        };
        Ok(match field.data_type() {
            DataType::Boolean => Self::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => integer(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => integer(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => integer(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => integer(i64::MIN, i64::MAX),
            DataType::UInt8 => integer(0, u8::MAX.into()),
            DataType::UInt16 => integer(0, u16::MAX.into()),
            DataType::UInt32 => integer(0, u32::MAX.into()),
            DataType::UInt64 => Self::Unsigned(Vec::new()),
            DataType::Float32 | DataType::Float64 => Self::Float(Vec::new()),
            DataType::Decimal128(precision, scale) => Self::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(Pieces::default()),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytes(Pieces::default()),
            DataType::Timestamp(..) => Self::Instant {
                values: Vec::new(),
                instants: Instants::of(field.data_type())
                    .ok_or_else(|| unsupported("its zone is unknown; write TIMESTAMP, or an offset like +02:00"))?,
            },
            DataType::Date32 => calendar(|text| Date32Type::parse(text).map(i64::from)),
            DataType::Time32(TimeUnit::Second) => calendar(|text| Time32SecondType::parse(text).map(i64::from)),
            DataType::Time32(_) => calendar(|text| Time32MillisecondType::parse(text).map(i64::from)),
            DataType::Time64(TimeUnit::Nanosecond) => calendar(Time64NanosecondType::parse),
            DataType::Time64(_) => calendar(Time64MicrosecondType::parse),
            DataType::List(element) => Self::List {
                ends: Vec::new(),
                element: Box::new(Column::new(element, format)?),
            },
            DataType::Struct(fields) => Self::Struct(Group::new(fields, format)?),
            _ => {
                return Err(unsupported(
                    "cast it to VARCHAR, a number, TIMESTAMP, a struct or a list",
                ));
            }
        })
    }

    pub(super) fn reserve(&mut self, more: usize) {
        match self {
            Self::Boolean(values) => values.reserve(more),
            Self::Integer { values, .. } | Self::Instant { values, .. } | Self::Calendar { values, .. } => {
                values.reserve(more)
            }
            Self::Unsigned(values) => values.reserve(more),
            Self::Float(values) => values.reserve(more),
            Self::Decimal { values, .. } => values.reserve(more),
            Self::Text(values) | Self::Bytes(values) => values.ends.reserve(more),
            Self::List { ends, .. } => ends.reserve(more),
            Self::Struct(group) => group.columns.iter_mut().for_each(|column| column.reserve(more)),
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Boolean(values) => values.truncate(len),
            Self::Integer { values, .. } | Self::Instant { values, .. } | Self::Calendar { values, .. } => {
                values.truncate(len)
            }
            Self::Unsigned(values) => values.truncate(len),
            Self::Float(values) => values.truncate(len),
            Self::Decimal { values, .. } => values.truncate(len),
            Self::Text(values) | Self::Bytes(values) => values.truncate(len),
            Self::List { ends, element } => {
                ends.truncate(len);
                element.truncate(ends.last().map_or(0, |&end| end as usize));
            }
            Self::Struct(group) => group.truncate(len),
        }
    }

    /// What stands where the column is NULL.
    pub(super) fn push_default(&mut self) {
        match self {
            Self::Boolean(values) => values.append(false),
            Self::Integer { values, .. } | Self::Instant { values, .. } | Self::Calendar { values, .. } => {
                values.push(0)
            }
            Self::Unsigned(values) => values.push(0),
            Self::Float(values) => values.push(0.0),
            Self::Decimal { values, .. } => values.push(0),
            Self::Text(values) | Self::Bytes(values) => values.push(&[]),
            Self::List { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
            Self::Struct(group) => group.columns.iter_mut().for_each(Column::push_absent),
        }
    }
}

/// Pieces of bytes, one after another. A batch of the log has less than 2³¹ bytes, so that their ends fit.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<i32>,
}

impl Pieces {
    #[inline]
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.close();
    }

    /// For adding the bytes of one piece; then [`Pieces::close`] or [`Pieces::reopen`].
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    #[inline]
    pub(super) fn close(&mut self) {
        self.ends.push(self.bytes.len() as i32);
    }

    /// Takes the bytes back that were added since the last piece.
    pub(super) fn reopen(&mut self) {
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.reopen();
    }
}

/// A decimal number is at most so long: 38 digits, a sign, a point, and zeros that say nothing.
const MAX_DECIMAL: usize = 128;

/// A decimal number in units of its scale; `None` if it is none, or does not fit without loss.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let exact = fraction.len() <= usize::try_from(scale).unwrap_or(0) && !text.contains(['e', 'E']);
    // Arrow's parser counts digits in eight bits, and takes a number of 260 digits for one of four.
    let whole = whole.trim_start_matches(['+', '-']).trim_start_matches('0');
    if !exact || whole.len() > usize::from(precision) || text.len() > MAX_DECIMAL {
        return None;
    }
    parse_decimal::<Decimal128Type>(text, precision, scale).ok()
}

/// Whether a decimal has at most so many digits.
pub(super) fn fits(value: i128, precision: u8) -> bool {
    10_u128
        .checked_pow(precision.into())
        .is_none_or(|bound| value.unsigned_abs() < bound)
}
