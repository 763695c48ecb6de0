use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use proptest::{collection::vec, prelude::*};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::{
    Format,
    tests::{batch, decode, encode, schema},
};

/// `{a: integer, b: text, c: {x: number, l: [truth]}}`.
fn columns() -> SchemaRef {
    let inner = Fields::from(vec![
        Field::new("x", DataType::Float64, true),
        Field::new("l", DataType::new_list(DataType::Boolean, true), true),
    ]);
    schema(&[
        ("a", DataType::Int64),
        ("b", DataType::Utf8),
        ("c", DataType::Struct(inner)),
    ])
}

/// What a column of this type makes of a value: `None` if it is bad.
fn expected(data_type: &DataType, value: Option<&Value>) -> Option<Value> {
    match (data_type, value.unwrap_or(&Value::Null)) {
        (_, Value::Null) => Some(Value::Null),
        (DataType::Int64, value) => value.as_i64().map(Value::from),
        (DataType::Float64, value) => value.as_f64().map(Value::from),
        (DataType::Boolean, value) => value.as_bool().map(Value::from),
        (DataType::Utf8, value) => value.as_str().map(Value::from),
        (DataType::List(field), value) => {
            let elements = value
                .as_array()?
                .iter()
                .map(|value| expected(field.data_type(), Some(value)));
            elements.collect::<Option<Vec<_>>>().map(Value::from)
        }
        (DataType::Struct(fields), value) => {
            let object = value.as_object()?;
            let fields = fields.iter().map(|field| {
                let value = expected(field.data_type(), object.get(field.name()))?;
                Some((field.name().clone(), value))
            });
            fields.collect::<Option<serde_json::Map<_, _>>>().map(Value::from)
        }
        _ => None,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let names = prop_oneof![
            Just("a"),
            Just("b"),
            Just("c"),
            Just("x"),
            Just("l"),
            Just("other \"\u{1}é")
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((names.prop_map(str::to_owned), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Mostly objects that suit the columns.
fn records() -> impl Strategy<Value = Value> {
    let suits = (
        any::<i64>(),
        any::<String>(),
        any::<f64>(),
        vec(any::<bool>(), 0..3),
        values(),
    );
    let suits = suits.prop_map(|(a, b, x, l, other)| json!({"z": other, "a": a, "b": b, "c": {"l": l, "x": x}}));
    prop_oneof![3 => suits, 1 => values()]
}

/// No capitals: they would make other names of ours, and serde_json's no names at all. No letters of names: they would name a column twice,
/// of which serde_json looks at the last only.
fn damage() -> impl Strategy<Value = u8> {
    any::<u8>().prop_filter("a name", |byte| !byte.is_ascii_uppercase() && !b"abclxz".contains(byte))
}

proptest! {
    #[test]
    fn rows_and_bad_records_are_those_of_serde_json(
        records in vec((records(), any::<bool>(), vec((any::<prop::sample::Index>(), damage()), 0..2)), 1..8),
    ) {
        let texts = records.iter().map(|(record, pretty, damage)| {
            let mut text = if *pretty { serde_json::to_vec_pretty(record) } else { serde_json::to_vec(record) }.unwrap();
            for (place, byte) in damage {
                let place = place.index(text.len());
                text[place] = *byte;
            }
            text
        });
        let texts: Vec<_> = texts.collect();
        let row = DataType::Struct(columns().fields().clone());
        let mut rows = Vec::new();
        for text in &texts {
            let value = serde_json::from_slice::<Value>(text).ok();
            // A number too large for serde_json is still JSON.
            let json = std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
            prop_assume!(value.is_some() || !json);
            rows.push(value.filter(Value::is_object).and_then(|value| expected(&row, Some(&value))));
        }
        let decoded = decode(&Format::Json, &columns(), &batch(&texts));
        let bad: Vec<_> = (0..rows.len()).filter(|&record| rows[record].is_none()).collect();
        prop_assert_eq!(decoded.bad.iter().map(|bad| bad.record).collect::<Vec<_>>(), bad, "{:?}", decoded.bad);
        let encoded = encode(&Format::Json, &decoded.rows);
        let encoded: Vec<Value> = encoded.iter().map(|value| serde_json::from_slice(value).unwrap()).collect();
        prop_assert_eq!(encoded, rows.into_iter().flatten().collect::<Vec<_>>());
    }
}

fn bad(schema: &SchemaRef, record: &str) -> String {
    let decoded = decode(&Format::Json, schema, &batch([r#"{"a":1}"#, record, r#"{"a":2}"#]));
    assert_eq!(decoded.rows.num_rows(), 2, "the others are not stopped");
    assert_eq!(decoded.bad[0].record, 1);
    decoded.bad[0].reason.clone()
}

#[test]
fn a_bad_record_is_named_with_its_reason() {
    for (record, reason) in [
        ("", "expected '{', but the record ends"),
        ("42", "expected '{' at byte 0"),
        (r#"{"a":1"#, "expected ',' or '}', but the record ends"),
        (r#"{"a":1,}"#, "expected '\"' at byte 7"),
        (r#"{"a":1}{"a":2}"#, "expected the end of the record at byte 7"),
        (r#"{"a":"1"}"#, "\"a\": expected Int64, found the text \"1\""),
        (r#"{"a":1.5}"#, "\"a\": expected Int64, found 1.5"),
        (
            r#"{"a":9223372036854775808}"#,
            "\"a\": expected Int64, found 9223372036854775808",
        ),
        (r#"{"a":01}"#, "\"a\": not a number at byte 7"),
        (r#"{"a":{}}"#, "\"a\": expected Int64, found an object"),
        (r#"{"z":[1,2}"#, "expected ',' or an end at byte 9"),
        (
            r#"{"z":"\ud800","b":"\ud800"}"#,
            "\"b\": half of a surrogate pair (\\u) without the other",
        ),
        ("{\"z\":\"a\nb\"}", "a control character in a string at byte 7"),
    ] {
        let actual = bad(&columns(), record);
        assert!(actual.starts_with(reason), "{record}: {actual}");
    }
}

#[test]
fn records_do_not_lend_each_other_their_brackets() {
    let decoded = decode(
        &Format::Json,
        &columns(),
        &batch([r#"{"a":1"#, "}", r#"{"a":2}{"a":3}"#, " "]),
    );
    assert_eq!(decoded.bad.len(), 4);
}

#[test]
fn deep_nesting_is_bad_and_does_no_harm() {
    let deep = format!(r#"{{"z":{}1{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert!(bad(&columns(), &deep).contains("128"));
    let allowed = format!(r#"{{"z":{}1{}}}"#, "[".repeat(127), "]".repeat(127));
    assert_eq!(decode(&Format::Json, &columns(), &batch([allowed])).bad, []);
}

#[test]
fn of_a_field_that_comes_twice_the_last_counts() {
    let decoded = decode(
        &Format::Json,
        &columns(),
        &batch([r#"{"a":1,"c":{"l":[true]},"a":2,"c":{"x":1.0}}"#]),
    );
    assert_eq!(
        encode(&Format::Json, &decoded.rows),
        [br#"{"a":2,"b":null,"c":{"x":1.0,"l":null}}"#]
    );
}

#[test]
fn names_are_matched_exactly_before_without_case() {
    let both = schema(&[
        ("a", DataType::Int64),
        ("A", DataType::Int64),
        ("datetime", DataType::Int64),
    ]);
    let decoded = decode(&Format::Json, &both, &batch([r#"{"A":1,"a":2,"dateTime":3}"#]));
    assert_eq!(encode(&Format::Json, &decoded.rows), [br#"{"a":2,"A":1,"datetime":3}"#]);
}

#[test]
fn what_must_not_be_null_is_bad_when_missing() {
    let strict: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    assert_eq!(bad(&strict, "{}"), "\"a\" must not be missing or null");
    assert_eq!(bad(&strict, r#"{"a":null}"#), "\"a\": must not be missing or null");
}

#[test]
fn times_are_text_or_milliseconds() {
    let micros = schema(&[("t", DataType::Timestamp(TimeUnit::Microsecond, None))]);
    let records = [
        r#"{"t":"2026-11-20 13:00:00.25"}"#,
        r#"{"t":1795179600250}"#,
        r#"{"t":"2026-11-20T15:00:00.25+02:00"}"#,
    ];
    let decoded = decode(&Format::Json, &micros, &batch(records));
    assert_eq!(
        encode(&Format::Json, &decoded.rows),
        [br#"{"t":"2026-11-20T13:00:00.250000"}"#; 3]
    );
}

#[test]
fn strings_of_every_length_end_where_they_end() {
    for length in 0..40 {
        for special in ["", "\\n", "é", "\\ud83d\\ude00", "\\u0000"] {
            let record = format!(
                r#"{{"b":"{}{special}{}"}}"#,
                "x".repeat(length),
                "y".repeat(40 - length)
            );
            let decoded = decode(&Format::Json, &columns(), &batch([&record]));
            let again: Value = serde_json::from_slice(&encode(&Format::Json, &decoded.rows)[0]).unwrap();
            assert_eq!(again["b"], serde_json::from_str::<Value>(&record).unwrap()["b"]);
        }
    }
}
