use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
        TimestampMillisecondArray,
    },
    datatypes::{DataType, Field, Int64Type},
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    Format, FormatError, Registry, Schemas,
    tests::{batch, decode, encode, record_batch, schema},
};

const SCHEMA: &str = r#"{"type":"record","name":"All","namespace":"shop","fields":[
    {"name":"c0","type":["null","boolean"]},
    {"name":"skipped","type":["null",{"type":"record","name":"Other","fields":[{"name":"tags","type":{"type":"map","values":"string"}}]}]},
    {"name":"c1","type":["null","int"]},
    {"name":"c2","type":["long","null"]},
    {"name":"c3","type":["null","float"]},
    {"name":"c4","type":["null","double"]},
    {"name":"c5","type":["null","string"]},
    {"name":"c6","type":["null","bytes"]},
    {"name":"c7","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"c8","type":["null",{"type":"long","logicalType":"time-micros"}]},
    {"name":"c9","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
    {"name":"c10","type":["null",{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}]},
    {"name":"c11","type":["null",{"type":"array","items":["null","long"]}]},
    {"name":"c12","type":["null",{"type":"record","name":"Inner","fields":[{"name":"x","type":["null","long"]},{"name":"again","type":["null","shop.Other"]}]}]}
]}"#;

fn format() -> Format {
    Format::Avro(Schemas::Local(SCHEMA.into()))
}

fn rows() -> impl Strategy<Value = RecordBatch> {
    let row = (
        (
            option::of(any::<bool>()),
            option::of(any::<i32>()),
            option::of(any::<i64>()),
            option::of(any::<f32>()),
        ),
        (
            option::of(any::<f64>()),
            option::of(any::<String>()),
            option::of(vec(any::<u8>(), 0..9)),
            option::of(-700_000..2_900_000_i32),
        ),
        (
            option::of(0..86_400_000_000_i64),
            option::of(0..253_402_300_800_000_i64),
            option::of(-99_999_999_999_i128..100_000_000_000),
        ),
        option::of(vec(option::of(any::<i64>()), 0..4)),
    );
    vec(row, 0..12).prop_map(|rows| {
        fn column<T, A: Array + 'static>(rows: &[T], array: impl Fn(&mut dyn Iterator<Item = &T>) -> A) -> ArrayRef {
            Arc::new(array(&mut rows.iter()))
        }
        let x: ArrayRef = column(&rows, |rows| rows.map(|row| row.0.2).collect::<Int64Array>());
        let inner = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), x)]);
        record_batch(vec![
            column(&rows, |rows| rows.map(|row| row.0.0).collect::<BooleanArray>()),
            column(&rows, |rows| rows.map(|row| row.0.1).collect::<Int32Array>()),
            column(&rows, |rows| rows.map(|row| row.0.2).collect::<Int64Array>()),
            column(&rows, |rows| rows.map(|row| row.0.3).collect::<Float32Array>()),
            column(&rows, |rows| rows.map(|row| row.1.0).collect::<Float64Array>()),
            column(&rows, |rows| {
                rows.map(|row| row.1.1.as_deref()).collect::<StringArray>()
            }),
            column(&rows, |rows| {
                rows.map(|row| row.1.2.as_deref()).collect::<BinaryArray>()
            }),
            column(&rows, |rows| rows.map(|row| row.1.3).collect::<Date32Array>()),
            column(&rows, |rows| {
                rows.map(|row| row.2.0).collect::<Time64MicrosecondArray>()
            }),
            column(&rows, |rows| {
                rows.map(|row| row.2.1).collect::<TimestampMillisecondArray>()
            }),
            column(&rows, |rows| {
                rows.map(|row| row.2.2)
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(20, 2)
                    .unwrap()
            }),
            column(&rows, |rows| {
                ListArray::from_iter_primitive::<Int64Type, _, _>(rows.map(|row| row.3.clone()))
            }),
            Arc::new(inner),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(rows in rows()) {
        let decoded = decode(&format(), &rows.schema(), &batch(encode(&format(), &rows)));
        prop_assert_eq!(decoded.bad, []);
        prop_assert_eq!(decoded.rows, rows);
    }

    #[test]
    fn damage_is_never_a_panic(rows in rows(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut values = encode(&format(), &rows);
        for value in &mut values {
            for (place, byte) in &damage {
                let place = place.index(value.len());
                value[place] = *byte;
            }
        }
        decode(&format(), &rows.schema(), &batch(values));
    }

    #[test]
    fn garbage_is_never_a_panic(values in vec(vec(any::<u8>(), 0..64), 0..8)) {
        let columns = schema(&[("c5", DataType::Utf8), ("c11", DataType::new_list(DataType::Int64, true))]);
        decode(&format(), &columns, &batch(values));
    }
}

#[test]
fn a_datum_is_written_as_the_specification_says() {
    // The example of its section "Schema Record": {"a": 27, "b": "foo"}.
    let text = r#"{"type":"record","name":"test","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}"#;
    let format = Format::Avro(Schemas::Local(text.into()));
    let columns = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let record = [0x36, 0x06, 0x66, 0x6f, 0x6f];
    let decoded = decode(&format, &columns, &batch([record]));
    let expected: [ArrayRef; 2] = [
        Arc::new(Int64Array::from(vec![27])),
        Arc::new(StringArray::from(vec!["foo"])),
    ];
    assert_eq!(decoded.rows.columns(), expected);
    assert_eq!(encode(&format, &decoded.rows), [record]);
}

#[derive(Debug)]
struct Numbered;

impl Registry for Numbered {
    fn schema(&self, id: u32) -> Result<Option<String>, String> {
        match id {
            7 => Ok(Some(
                r#"{"type":"record","name":"r","fields":[{"name":"a","type":"long"}]}"#.into(),
            )),
            8 => Ok(Some(
                r#"{"type":"record","name":"r","fields":[{"name":"b","type":"string"},{"name":"a","type":"int"}]}"#
                    .into(),
            )),
            503 => Err("it is asleep".to_owned()),
            _ => Ok(None),
        }
    }

    fn latest(&self, _: &str) -> Result<(u32, String), String> {
        Ok((7, self.schema(7)?.unwrap()))
    }
}

#[test]
fn every_framed_record_is_read_by_its_own_schema() {
    let format = Format::Avro(Schemas::Registry {
        registry: Arc::new(Numbered),
        subject: "t-value".into(),
    });
    let columns = schema(&[("a", DataType::Int64)]);
    let records: [&[u8]; 5] = [
        &[0, 0, 0, 0, 7, 2],
        &[0, 0, 0, 0, 8, 2, b'x', 4],
        &[0, 0, 0, 0, 9, 2],
        &[2],
        &[0, 0, 0, 0, 7, 2, 2],
    ];
    let decoded = decode(&format, &columns, &batch(records));
    assert_eq!(decoded.rows.column(0).as_ref(), &Int64Array::from(vec![1, 2]));
    let reasons: Vec<_> = decoded.bad.iter().map(|bad| bad.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "the schema registry has no schema 9",
            "it does not begin with 0 and the number of a schema",
            "1 bytes too many: was it written with another schema?",
        ]
    );
    assert_eq!(encode(&format, &decoded.rows)[1], [0, 0, 0, 0, 7, 4]);
}

#[test]
fn records_wait_for_a_registry_that_can_not_be_asked() {
    let format = Format::Avro(Schemas::Registry {
        registry: Arc::new(Numbered),
        subject: "t-value".into(),
    });
    let columns = schema(&[("a", DataType::Int64)]);
    let mut decoder = format.decoder(&columns, columns.clone()).unwrap();
    let records: [&[u8]; 2] = [&[0, 0, 0, 0, 7, 2], &[0, 0, 0, 1, 0xf7, 2]];
    let error = decoder.decode(&batch(records)).unwrap_err();
    assert!(
        matches!(&error, FormatError::Registry(reason) if reason == "it is asleep"),
        "{error}"
    );
    let decoded = decoder.decode(&batch(records[..1].iter().copied())).unwrap();
    assert_eq!(decoded.rows.num_rows(), 1, "nothing is left of the first attempt");
}

#[test]
fn schemas_that_can_do_harm_are_refused() {
    let message = |schema: &str| {
        let format = Format::Avro(Schemas::Local(schema.into()));
        let columns = crate::tests::schema(&[]);
        format.decoder(&columns, columns.clone()).err().unwrap().to_string()
    };
    assert!(message("{").contains("not JSON"));
    assert!(message(r#""long""#).contains("must be a record"));
    let node = r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
    assert!(message(node).contains("contains itself"));
    let nothing = r#"{"type":"record","name":"n","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}"#;
    assert!(message(nothing).contains("no bytes"));
    let mut fields =
        r#"{"name":"f0","type":{"type":"record","name":"r0","fields":[{"name":"x","type":"long"}]}}"#.to_owned();
    for level in 1..40 {
        let below = level - 1;
        fields += &format!(
            r#",{{"name":"f{level}","type":{{"type":"record","name":"r{level}","fields":[{{"name":"x","type":"r{below}"}},{{"name":"y","type":"r{below}"}}]}}}}"#
        );
    }
    assert!(message(&format!(r#"{{"type":"record","name":"bomb","fields":[{fields}]}}"#)).contains("10000"));
}
