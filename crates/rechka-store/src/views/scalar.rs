//! Values of JSON as bytes that sort like the values.
//!
//! Keys are kept in one ordered map. Their bytes compare as the values do, column by column, so that the rows with given values of the
//! first key columns lie side by side: the idea of FoundationDB's tuple layer, reduced to what JSON has.
use arrow::{compute::kernels::cast_utils::string_to_timestamp_nanos, datatypes::DataType};
use serde_json::{Number, Value};

const NULL: u8 = 0;
const BOOLEAN: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;
const NESTED: u8 = 4;

/// Appends the bytes of a value of a column of type `kind`. Times are compared as times, however they are written.
pub(super) fn encode(kind: &DataType, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(value) => out.extend([BOOLEAN, u8::from(*value)]),
        Value::Number(value) => match nanoseconds_per_unit(kind).zip(value.as_i64()) {
            Some((unit, value)) => integer(i128::from(value) * unit, out),
            None => number(value, out),
        },
        Value::String(value) => match typed(kind, value) {
            Some(value) => number(&value, out),
            None => text(TEXT, value, out),
        },
        nested => text(NESTED, &nested.to_string(), out),
    }
}

/// A value from how people write it: `7`, `true`, `2026-01-01T00:00:00Z`, `any text`. `None`: it can't be of type `kind`.
pub(super) fn parse(kind: &DataType, written: &str) -> Option<Value> {
    let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if is_text {
        return Some(Value::String(written.to_owned()));
    }
    if written == "null" {
        return Some(Value::Null);
    }
    match kind {
        DataType::Boolean => written.parse().ok().map(Value::Bool),
        kind if kind.is_numeric() => serde_json::from_str(written).ok().map(Value::Number),
        kind if nanoseconds_per_unit(kind).is_some() => string_to_timestamp_nanos(written)
            .ok()
            .map(|_| Value::String(written.to_owned())),
        kind if kind.is_nested() => serde_json::from_str(written).ok(),
        _ => Some(Value::String(written.to_owned())),
    }
}

/// A number that is written as a string: a time, or a decimal.
fn typed(kind: &DataType, value: &str) -> Option<Number> {
    if nanoseconds_per_unit(kind).is_some() {
        string_to_timestamp_nanos(value).ok().map(Number::from)
    } else if kind.is_numeric() {
        serde_json::from_str(value).ok()
    } else {
        None
    }
}

fn nanoseconds_per_unit(kind: &DataType) -> Option<i128> {
    // Whatever the column counts in: JSON's numbers are milliseconds, as the formats read them.
    match kind {
        DataType::Timestamp(..) | DataType::Date64 => Some(1_000_000),
        DataType::Date32 => Some(86_400_000_000_000),
        _ => None,
    }
}

fn number(value: &Number, out: &mut Vec<u8>) {
    let whole = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    let float = value.as_f64().unwrap_or_default();
    match whole {
        Some(whole) => integer(whole, out),
        // 1 and 1.0 are the same value.
        None if float.fract() == 0.0 && float.abs() < 1e18 => integer(float as i128, out),
        None => parts(float, 0, out),
    }
}

/// The nearest float first, then how far it is off: floats and integers sort together, and no integer is lost.
fn integer(value: i128, out: &mut Vec<u8>) {
    let nearest = value as f64;
    parts(nearest, (value - nearest as i128) as i64, out);
}

fn parts(float: f64, rest: i64, out: &mut Vec<u8>) {
    const SIGN: u64 = 1 << 63;
    let bits = float.to_bits();
    let sortable = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
    out.push(NUMBER);
    out.extend(sortable.to_be_bytes());
    out.extend((rest as u64 ^ SIGN).to_be_bytes());
}

/// Ends with two zero bytes, which can't be within: a zero byte of the text is followed by 255.
fn text(tag: u8, value: &str, out: &mut Vec<u8>) {
    out.push(tag);
    for byte in value.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(255);
        }
    }
    out.extend([0, 0]);
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bytes(kind: &DataType, value: Value) -> Vec<u8> {
        let mut out = Vec::new();
        encode(kind, &value, &mut out);
        out
    }

    #[test]
    fn values_sort_by_type_and_then_by_value() {
        let sorted = [
            json!(null),
            json!(false),
            json!(true),
            json!(-1e300),
            json!(i64::MIN),
            json!(i64::MIN + 1),
            json!(-2.5),
            json!(-2),
            json!(0),
            json!(0.5),
            json!(7),
            json!(10),
            json!((1_i64 << 53) + 1),
            json!((1_i64 << 53) + 2),
            json!(u64::MAX - 1),
            json!(u64::MAX),
            json!(1e300),
            json!(""),
            json!("\0"),
            json!("a"),
            json!("a\0"),
            json!("a\u{1}"),
            json!("ab"),
        ];
        let encoded: Vec<_> = sorted
            .iter()
            .map(|value| bytes(&DataType::Null, value.clone()))
            .collect();
        assert!(encoded.is_sorted_by(|a, b| a < b), "{encoded:?}");
        assert_eq!(bytes(&DataType::Float64, json!(1.0)), bytes(&DataType::Int64, json!(1)));
        assert_eq!(
            bytes(&DataType::Float64, json!(-0.0)),
            bytes(&DataType::Float64, json!(0))
        );
    }

    #[test]
    fn a_time_is_the_same_however_it_is_written() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let wanted = bytes(&time, json!(1_767_225_600_000_i64));
        for written in [
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00.000",
            "2026-01-01T01:00:00+01:00",
        ] {
            assert_eq!(bytes(&time, parse(&time, written).unwrap()), wanted, "{written}");
        }
        assert_eq!(parse(&time, "yesterday"), None);
    }

    #[test]
    fn what_people_write_is_read_by_the_type_of_the_column() {
        assert_eq!(parse(&DataType::Utf8, "7"), Some(json!("7")));
        assert_eq!(parse(&DataType::Int64, "7"), Some(json!(7)));
        assert_eq!(parse(&DataType::Int64, "seven"), None);
        assert_eq!(parse(&DataType::Int64, "null"), Some(json!(null)));
        assert_eq!(parse(&DataType::Boolean, "true"), Some(json!(true)));
        assert_eq!(
            bytes(&DataType::Decimal128(9, 2), json!("1.50")),
            bytes(&DataType::Float64, json!(1.5))
        );
    }

    proptest! {
        #[test]
        fn integers_and_text_sort_like_themselves(a: i64, b: i64, s: String, t: String) {
            let kind = DataType::Null;
            prop_assert_eq!(bytes(&kind, json!(a)).cmp(&bytes(&kind, json!(b))), a.cmp(&b));
            prop_assert_eq!(bytes(&kind, json!(s)).cmp(&bytes(&kind, json!(t))), s.cmp(&t));
            // Nothing is the beginning of another: columns can follow each other.
            prop_assert!(s == t || !bytes(&kind, json!(s)).starts_with(&bytes(&kind, json!(t))));
        }

        #[test]
        fn floats_sort_like_themselves(a in proptest::num::f64::NORMAL, b in proptest::num::f64::NORMAL) {
            let kind = DataType::Float64;
            let order = a.partial_cmp(&b).unwrap();
            prop_assert_eq!(bytes(&kind, json!(a)).cmp(&bytes(&kind, json!(b))), order);
        }
    }
}
