//! What holds for every format.
use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int8Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
        Time64MicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use proptest::{collection::vec, option, prelude::*};
use rechka_log::{Batch, BatchBuilder};

use crate::{Decoded, Format};

/// A batch of the log with these values.
pub(crate) fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Batch {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(None, value.as_ref(), 0, &[]).unwrap();
    }
    builder.finish()
}

pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Encodes rows, a value each.
pub(crate) fn encode(format: &Format, rows: &RecordBatch) -> Vec<Vec<u8>> {
    let (mut values, mut ends) = (Vec::new(), Vec::new());
    let mut encoder = format.encoder(&rows.schema()).unwrap();
    encoder.encode(rows, &mut values, &mut ends).unwrap();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts
        .zip(&ends)
        .map(|(start, &end)| values[start..end].to_vec())
        .collect()
}

pub(crate) fn decode(format: &Format, schema: &SchemaRef, batch: &Batch) -> Decoded {
    let decoded = format.decoder(schema, schema.clone()).unwrap().decode(batch).unwrap();
    assert!(
        decoded.bad.is_sorted_by(|a, b| a.record < b.record),
        "each bad record is named once, in order"
    );
    if *format != Format::Arrow {
        assert_eq!(decoded.rows.num_rows() + decoded.bad.len(), batch.len());
    }
    decoded
}

fn round_trip(format: &Format, rows: &RecordBatch) {
    let decoded = decode(format, &rows.schema(), &batch(encode(format, rows)));
    assert_eq!(decoded.bad, []);
    assert_eq!(&decoded.rows, rows);
}

/// A column of every plain type.
fn plain_columns(rows: usize) -> impl Strategy<Value = Vec<ArrayRef>> {
    fn column<T: std::fmt::Debug, A: Array + 'static>(
        rows: usize,
        values: impl Strategy<Value = T>,
        array: impl Fn(Vec<Option<T>>) -> A,
    ) -> impl Strategy<Value = ArrayRef> {
        vec(option::of(values), rows).prop_map(move |values| Arc::new(array(values)) as ArrayRef)
    }
    let millis = -62_167_219_200_000..253_402_300_800_000_i64;
    let first = (
        column(rows, any::<bool>(), BooleanArray::from),
        column(rows, any::<i8>(), Int8Array::from),
        column(rows, any::<i64>(), Int64Array::from),
        column(rows, any::<u32>(), UInt32Array::from),
        column(rows, any::<u64>(), UInt64Array::from),
        column(rows, proptest::num::f32::NORMAL, Float32Array::from),
        column(rows, proptest::num::f64::NORMAL, Float64Array::from),
        column(rows, -999_999_999_i128..1_000_000_000, |values| {
            Decimal128Array::from(values).with_precision_and_scale(9, 2).unwrap()
        }),
    );
    let second = (
        column(rows, any::<String>(), StringArray::from),
        column(rows, any::<String>(), StringViewArray::from),
        column(rows, vec(any::<u8>(), 0..9), |values| {
            values.iter().map(Option::as_deref).collect::<BinaryArray>()
        }),
        column(rows, -700_000..2_900_000_i32, Date32Array::from),
        column(rows, 0..86_400_000_000_i64, Time64MicrosecondArray::from),
        column(rows, millis.clone(), TimestampMillisecondArray::from),
        column(rows, millis, |values| {
            TimestampMillisecondArray::from(values).with_timezone("UTC")
        }),
        column(rows, any::<i64>(), TimestampNanosecondArray::from),
    );
    (first, second).prop_map(|((a, b, c, d, e, f, g, h), (i, j, k, l, m, n, o, p))| {
        vec![a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    })
}

pub(crate) fn record_batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let fields = columns.iter().enumerate();
    let fields = fields.map(|(number, column)| Field::new(format!("c{number}"), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

fn plain_rows() -> impl Strategy<Value = RecordBatch> {
    (0_usize..20).prop_flat_map(plain_columns).prop_map(record_batch)
}

/// A struct of all plain columns, and a list of such structs.
fn nested_rows() -> impl Strategy<Value = RecordBatch> {
    vec(option::of(0_usize..4), 0..8).prop_flat_map(|lengths| {
        let elements: usize = lengths.iter().flatten().sum();
        (
            Just(lengths),
            plain_rows(),
            plain_columns(elements),
            vec(any::<bool>(), elements),
        )
            .prop_map(|(lengths, plain, elements, valid)| {
                let elements = StructArray::from(record_batch(elements));
                let (fields, columns, _) = elements.into_parts();
                // What a NULL hides is not kept, so hide only NULLs.
                let columns = columns.iter().map(|column| mask(column, &valid)).collect();
                let elements =
                    StructArray::try_new_with_length(fields, columns, Some(valid.clone().into()), valid.len()).unwrap();
                let field = Arc::new(Field::new("item", elements.data_type().clone(), true));
                let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
                let nulls: NullBuffer = lengths.iter().map(Option::is_some).collect::<Vec<_>>().into();
                let list = ListArray::new(field, offsets, Arc::new(elements), Some(nulls));
                let len = plain.num_rows().min(list.len());
                let plain = StructArray::from(plain.slice(0, len));
                record_batch(vec![Arc::new(plain), Arc::new(list.slice(0, len))])
            })
    })
}

fn mask(column: &ArrayRef, valid: &[bool]) -> ArrayRef {
    let hidden: BooleanArray = valid.iter().map(|valid| Some(!valid)).collect();
    arrow::compute::nullif(column, &hidden).unwrap()
}

const CSV: Format = Format::Csv { delimiter: b';' };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(plain in plain_rows(), nested in nested_rows()) {
        round_trip(&Format::Json, &plain);
        round_trip(&Format::Json, &nested);
        round_trip(&CSV, &plain);
        round_trip(&Format::Arrow, &plain);
        round_trip(&Format::Arrow, &nested);
    }

    #[test]
    fn garbage_is_bad_and_never_a_panic(values in vec(vec(any::<u8>(), 0..64), 0..8), plain in plain_rows()) {
        for format in [Format::Json, CSV, Format::Arrow] {
            decode(&format, &plain.schema(), &batch(&values));
        }
    }

    #[test]
    fn damaged_records_never_panic(plain in plain_rows(), nested in nested_rows(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        for (format, rows) in [(Format::Json, &plain), (CSV, &plain), (Format::Arrow, &plain), (Format::Json, &nested), (Format::Arrow, &nested)] {
            let mut values = encode(&format, rows);
            for value in values.iter_mut().filter(|value| !value.is_empty()) {
                for (place, byte) in &damage {
                    let place = place.index(value.len());
                    value[place] = *byte;
                }
            }
            decode(&format, &rows.schema(), &batch(values));
        }
    }
}

#[test]
fn a_projection_gives_the_wanted_columns_in_the_wanted_order() {
    let all = schema(&[("a", DataType::Int64), ("b", DataType::Utf8), ("c", DataType::Boolean)]);
    let wanted = schema(&[("c", DataType::Boolean), ("a", DataType::Int64)]);
    for (format, value) in [(Format::Json, r#"{"a":1,"b":"x","c":true}"#), (CSV, "1;x;true")] {
        let decoded = format
            .decoder(&all, wanted.clone())
            .unwrap()
            .decode(&batch([value]))
            .unwrap();
        let columns: [ArrayRef; 2] = [
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(Int64Array::from(vec![1])),
        ];
        assert_eq!(
            decoded.rows,
            RecordBatch::try_new(wanted.clone(), columns.to_vec()).unwrap()
        );
    }
}

#[test]
fn no_columns_still_count_the_rows() {
    let all = schema(&[("a", DataType::Utf8)]);
    for format in [Format::Json, CSV, Format::Raw] {
        let none = Arc::new(Schema::empty());
        let decoded = format
            .decoder(&all, none)
            .unwrap()
            .decode(&batch(["{}", "{}"]))
            .unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (2, 0), "{format:?}");
    }
}

#[test]
fn raw_values_are_what_they_are() {
    let text = schema(&[("line", DataType::Utf8)]);
    let decoded = decode(&Format::Raw, &text, &batch([&b"a"[..], b"", b"\xff"]));
    assert_eq!(decoded.bad[0].record, 2);
    assert_eq!(encode(&Format::Raw, &decoded.rows), [&b"a"[..], b""]);
    let bytes = schema(&[("value", DataType::Binary)]);
    assert_eq!(
        encode(&Format::Raw, &decode(&Format::Raw, &bytes, &batch([b"\xff"])).rows),
        [b"\xff"]
    );
}

#[test]
fn columns_that_do_not_suit_a_format_are_refused_with_advice() {
    let list = schema(&[("tags", DataType::new_list(DataType::Utf8, true))]);
    let message = CSV.decoder(&list, list.clone()).err().unwrap().to_string();
    assert!(message.contains("tags") && message.contains("json"), "{message}");
    let message = Format::Raw.encoder(&list).err().unwrap().to_string();
    assert!(message.contains("BYTEA"), "{message}");
}

#[test]
fn csv_knows_quotes_and_says_what_is_wrong() {
    let columns = schema(&[("a", DataType::Utf8), ("b", DataType::Int64)]);
    let decoded = decode(
        &CSV,
        &columns,
        &batch([
            "\"x;\"\"y\"\"\";1\r\n",
            ";",
            "\"\";2",
            "x",
            "x;1;2",
            "\"x\"y;1",
            "x;1.5",
            "",
        ]),
    );
    let expected = RecordBatch::try_new(
        columns,
        vec![
            Arc::new(StringArray::from(vec![Some("x;\"y\""), None, Some("")])),
            Arc::new(Int64Array::from(vec![Some(1), None, Some(2)])),
        ],
    );
    assert_eq!(decoded.rows, expected.unwrap());
    let reasons: Vec<_> = decoded.bad.iter().map(|bad| bad.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "1 fields instead of 2",
            "more than 2 fields",
            "field 1 has a quote out of place",
            "\"b\": expected Int64, found 1.5",
            "an empty line",
        ]
    );
}

#[test]
fn a_decimal_that_is_too_long_is_bad_instead_of_another_number() {
    let columns = schema(&[("amount", DataType::Decimal128(18, 2))]);
    let nines = "9".repeat(260);
    let zeros = format!("1{}", "0".repeat(265));
    let small = format!("0.{}1", "0".repeat(300));
    let records = [
        nines.as_str(),
        &zeros,
        &small,
        "1e3",
        "000012.5000",
        "-9999999999999999.99",
        "10000000000000000.00",
    ];
    let json = records.map(|number| format!(r#"{{"amount":"{number}"}}"#));
    let decoded = decode(&Format::Json, &columns, &batch(json));
    let bad: Vec<_> = decoded.bad.iter().map(|bad| bad.record).collect();
    assert_eq!(bad, [0, 1, 2, 3, 6]);
    let expected = arrow::array::Decimal128Array::from(vec![1250, -999_999_999_999_999_999])
        .with_precision_and_scale(18, 2)
        .unwrap();
    assert_eq!(decoded.rows.column(0).as_ref(), &expected);
}

#[test]
fn numbers_that_json_does_not_have_come_back() {
    let values = vec![
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
        None,
        Some(0.5),
    ];
    let column: ArrayRef = Arc::new(arrow::array::Float64Array::from(values));
    let rows = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap();
    let written = encode(&Format::Json, &rows);
    let expected = [r#""NaN""#, r#""Infinity""#, r#""-Infinity""#, "null", "0.5"];
    assert_eq!(written, expected.map(|value| format!("{{\"x\":{value}}}").into_bytes()));
    let read = decode(&Format::Json, &rows.schema(), &batch(written));
    // NaN is unlike itself.
    assert_eq!(format!("{:?}", read.rows.column(0)), format!("{:?}", rows.column(0)));
}
