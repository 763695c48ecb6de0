use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
        RecordBatch, StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
    },
    datatypes::{DataType, Field, Int64Type},
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    Format, Registry, Schemas,
    tests::{batch, decode, encode, record_batch, schema},
};

const FILE: &str = r#"
syntax = "proto3";
package shop.v1; // what the shop sells
import "google/protobuf/timestamp.proto";
option java_package = "org.example";

message Other { string name = 1; }

/* An order,
   with everything. */
message Order {
  enum Status { option allow_alias = true; UNKNOWN = 0; PAID = 1; SENT = 2 [deprecated = true]; }
  message Line { int64 item = 1; optional double price = 2; }
  reserved 100 to 200, 300;
  optional bool c0 = 1;
  optional int32 c1 = 2;
  optional sint64 c2 = 3 [(unit) = { name: "cents" }];
  optional uint64 c3 = 4;
  optional fixed64 c4 = 5;
  optional sfixed32 c5 = 6;
  optional float c6 = 7;
  optional double c7 = 8;
  optional string c8 = 9;
  optional bytes c9 = 10;
  google.protobuf.Timestamp c10 = 11;
  Line c11 = 12;
  repeated int64 c12 = 13;
  oneof choice { Status status = 14; .shop.v1.Other other = 15; }
  map<string, Line> lines = 16;
  int64 plain = 17;
  Status state = 18;
}
service Orders { rpc Get (Other) returns (Order) { option idempotent = true; } }
"#;

fn format() -> Format {
    Format::Protobuf {
        schemas: Schemas::Local(FILE.into()),
        message: Some("Order".into()),
    }
}

fn rows() -> impl Strategy<Value = RecordBatch> {
    let row = (
        (
            option::of(any::<bool>()),
            option::of(any::<i32>()),
            option::of(any::<i64>()),
            option::of(any::<u64>()),
        ),
        (
            option::of(any::<u64>()),
            option::of(any::<f32>()),
            option::of(any::<f64>()),
            option::of(any::<String>()),
        ),
        (
            option::of(vec(any::<u8>(), 0..9)),
            option::of(any::<i64>()),
            option::of(option::of(any::<f64>())),
        ),
        vec(any::<i64>(), 0..4),
    );
    vec(row, 0..12).prop_map(|rows| {
        fn column<T, A: Array + 'static>(rows: &[T], array: impl Fn(&mut dyn Iterator<Item = &T>) -> A) -> ArrayRef {
            Arc::new(array(&mut rows.iter()))
        }
        let fields = vec![
            Field::new("item", DataType::Int64, true),
            Field::new("price", DataType::Float64, true),
        ];
        let valid: Vec<bool> = rows.iter().map(|row| row.2.2.is_some()).collect();
        let item: Int64Array = rows.iter().map(|row| row.2.2.map(|_| 7)).collect();
        let price: Float64Array = rows.iter().map(|row| row.2.2.flatten()).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(item), Arc::new(price)];
        let line = StructArray::try_new_with_length(fields.into(), columns, Some(valid.into()), rows.len()).unwrap();
        record_batch(vec![
            column(&rows, |rows| rows.map(|row| row.0.0).collect::<BooleanArray>()),
            column(&rows, |rows| rows.map(|row| row.0.1).collect::<Int32Array>()),
            column(&rows, |rows| rows.map(|row| row.0.2).collect::<Int64Array>()),
            column(&rows, |rows| rows.map(|row| row.0.3).collect::<UInt64Array>()),
            column(&rows, |rows| rows.map(|row| row.1.0).collect::<UInt64Array>()),
            column(&rows, |rows| rows.map(|row| row.0.1).collect::<Int32Array>()),
            column(&rows, |rows| rows.map(|row| row.1.1).collect::<Float32Array>()),
            column(&rows, |rows| rows.map(|row| row.1.2).collect::<Float64Array>()),
            column(&rows, |rows| {
                rows.map(|row| row.1.3.as_deref()).collect::<StringArray>()
            }),
            column(&rows, |rows| {
                rows.map(|row| row.2.0.as_deref()).collect::<BinaryArray>()
            }),
            column(&rows, |rows| {
                rows.map(|row| row.2.1).collect::<TimestampNanosecondArray>()
            }),
            Arc::new(line),
            column(&rows, |rows| {
                ListArray::from_iter_primitive::<Int64Type, _, _>(
                    rows.map(|row| Some(row.3.iter().copied().map(Some).collect::<Vec<_>>())),
                )
            }),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(rows in rows()) {
        let values = encode(&format(), &rows);
        let decoded = decode(&format(), &rows.schema(), &batch(values));
        prop_assert_eq!(decoded.bad, []);
        prop_assert_eq!(decoded.rows, rows);
    }

    #[test]
    fn damage_is_never_a_panic(rows in rows(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut values = encode(&format(), &rows);
        for value in values.iter_mut().filter(|value| !value.is_empty()) {
            for (place, byte) in &damage {
                let place = place.index(value.len());
                value[place] = *byte;
            }
        }
        decode(&format(), &rows.schema(), &batch(values));
    }

    #[test]
    fn garbage_is_never_a_panic(values in vec(vec(any::<u8>(), 0..64), 0..8), text: String) {
        let columns = schema(&[("c8", DataType::Utf8), ("c12", DataType::new_list(DataType::Int64, true))]);
        decode(&format(), &columns, &batch(values));
        let _ = super::parse::parse(&text);
    }

    #[test]
    fn damaged_files_are_never_a_panic(place in 0..FILE.len(), text in "[ -~]{0,3}") {
        let _ = super::parse::parse(&format!("{}{text}{}", &FILE[..place], &FILE[(place + 2).min(FILE.len())..]));
    }
}

#[test]
fn a_message_is_read_as_the_specification_says() {
    // The examples of the page "Encoding": a = 150; b = "testing"; packed 3, 270, 86942; then the last of two.
    let file = "syntax = 'proto3'; message M { int32 a = 1; string b = 2; repeated int32 f = 6; }";
    let format = Format::Protobuf {
        schemas: Schemas::Local(file.into()),
        message: None,
    };
    let columns = schema(&[
        ("a", DataType::Int64),
        ("b", DataType::Utf8),
        ("f", DataType::new_list(DataType::Int32, true)),
    ]);
    let record: &[u8] = &[
        0x08, 0x01, 0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67, 0x32, 0x06, 0x03, 0x8e,
        0x02, 0x9e, 0xa7, 0x05,
    ];
    let decoded = decode(&format, &columns, &batch([record, b""]));
    let rows: Vec<_> = encode(&Format::Json, &decoded.rows)
        .into_iter()
        .map(|value| String::from_utf8(value).unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            r#"{"a":150,"b":"testing","f":[3,270,86942]}"#,
            r#"{"a":0,"b":"","f":[]}"#
        ]
    );
}

#[test]
fn enums_are_text_maps_are_lists_and_what_is_missing_is_null_or_default() {
    let entry = DataType::Struct(
        vec![
            Field::new("key", DataType::Utf8, true),
            Field::new(
                "value",
                DataType::Struct(vec![Field::new("item", DataType::Int64, true)].into()),
                true,
            ),
        ]
        .into(),
    );
    let columns = schema(&[
        ("status", DataType::Utf8),
        ("lines", DataType::new_list(entry, true)),
        ("plain", DataType::Int64),
        ("state", DataType::Utf8),
        ("c8", DataType::Utf8),
    ]);
    // status = SENT; lines = {"a": {item: 5}}.
    let record: &[u8] = &[0x70, 2, 0x82, 0x01, 7, 0x0a, 1, b'a', 0x12, 2, 0x08, 5];
    let decoded = decode(&format(), &columns, &batch([record, &[0x70, 9]]));
    let rows: Vec<_> = encode(&Format::Json, &decoded.rows)
        .into_iter()
        .map(|value| String::from_utf8(value).unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            r#"{"status":"SENT","lines":[{"key":"a","value":{"item":5}}],"plain":0,"state":"UNKNOWN","c8":null}"#,
            r#"{"status":"9","lines":[],"plain":0,"state":"UNKNOWN","c8":null}"#,
        ]
    );
}

#[derive(Debug)]
struct Numbered;

impl Registry for Numbered {
    fn schema(&self, id: u32) -> Result<Option<String>, String> {
        match id {
            7 => Ok(Some("syntax = \"proto3\"; message A { int64 a = 1; } message B { message C { sint64 a = 1; } int64 a = 3; }".into())),
            _ => Ok(None),
        }
    }

    fn latest(&self, _: &str) -> Result<(u32, String), String> {
        Ok((7, self.schema(7)?.unwrap()))
    }
}

#[test]
fn a_frame_names_the_schema_and_the_message() {
    let format = |message: &str| Format::Protobuf {
        schemas: Schemas::Registry {
            registry: Arc::new(Numbered),
            subject: "t-value".into(),
        },
        message: Some(message.into()),
    };
    let columns = schema(&[("a", DataType::Int64)]);
    let records: [&[u8]; 5] = [
        &[0, 0, 0, 0, 7, 0, 0x08, 2],
        &[0, 0, 0, 0, 7, 2, 2, 0x18, 2],
        &[0, 0, 0, 0, 7, 4, 2, 0, 0x08, 2],
        &[0, 0, 0, 0, 7, 2, 8, 0x08, 2],
        &[0, 0, 0, 0, 9, 0],
    ];
    let decoded = decode(&format("B"), &columns, &batch(records));
    assert_eq!(decoded.rows.column(0).as_ref(), &Int64Array::from(vec![2, 2, 1]));
    let reasons: Vec<_> = decoded.bad.iter().map(|bad| bad.reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["schema 7 has no message at [4]", "the schema registry has no schema 9"]
    );
    assert_eq!(encode(&format("B"), &decoded.rows)[0], records[1]);
    assert_eq!(encode(&format("A"), &decoded.rows)[0], records[0]);
}

#[test]
fn files_that_can_not_be_read_are_refused_with_the_reason() {
    for (file, reason) in [
        ("message M { Unknown a = 1; }", "the type Unknown is not defined"),
        ("edition = \"2023\";", "editions"),
        ("message M { int32 a = x; }", "no number"),
        ("message M { ", "expected a name"),
        ("syntax = \"proto3\";", "no message"),
    ] {
        let format = Format::Protobuf {
            schemas: Schemas::Local(file.into()),
            message: None,
        };
        let columns = schema(&[]);
        let message = format.decoder(&columns, columns.clone()).err().unwrap().to_string();
        assert!(message.contains(reason), "{message}");
    }
}
