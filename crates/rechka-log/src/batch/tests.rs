use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Record {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    timestamp: i64,
    headers: Vec<(String, Vec<u8>)>,
}

fn record() -> impl Strategy<Value = Record> {
    (
        option::of(vec(any::<u8>(), 0..20)),
        vec(any::<u8>(), 0..100),
        any::<i64>(),
        vec(("\\PC{0,8}", vec(any::<u8>(), 0..10)), 0..3),
    )
        .prop_map(|(key, value, timestamp, headers)| Record {
            key,
            value,
            timestamp,
            headers,
        })
}

fn build(records: &[Record]) -> Batch {
    let mut builder = BatchBuilder::new();
    for record in records {
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let key = record.key.as_deref();
        builder.push(key, &record.value, record.timestamp, &headers).unwrap();
    }
    let bound = builder.bytes();
    let batch = builder.finish();
    assert!(batch.bytes() <= bound);
    batch
}

fn records(batch: &Batch) -> Vec<Record> {
    batch
        .iter()
        .map(|record| Record {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            timestamp: record.timestamp,
            headers: record
                .headers()
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
        })
        .collect()
}

/// The values as an Arrow decoder would read them.
fn values_by_offsets(batch: &Batch) -> Vec<Vec<u8>> {
    let offsets: Vec<usize> = batch
        .value_offsets()
        .chunks_exact(4)
        .map(|offset| u32_at(offset, 0))
        .collect();
    let values = batch.values();
    offsets
        .windows(2)
        .map(|pair| values[pair[0]..pair[1]].to_vec())
        .collect()
}

proptest! {
    #[test]
    fn a_batch_gives_back_what_was_pushed(expected in vec(record(), 0..40)) {
        let built = build(&expected);
        prop_assert_eq!(&records(&built), &expected);
        let decoded = Batch::decode(built.encode().unwrap()).unwrap();
        prop_assert_eq!(&records(&decoded), &expected);
        let values: Vec<_> = expected.iter().map(|record| record.value.clone()).collect();
        prop_assert_eq!(values_by_offsets(&decoded), values);
    }

    #[test]
    fn a_slice_shows_its_records_and_encodes_them_alone(
        all in vec(record(), 0..40), start in 0..50_usize, length in 0..50_usize,
    ) {
        let slice = build(&all).slice(start..start + length);
        let expected = &all[start.min(all.len())..(start + length).min(all.len())];
        prop_assert_eq!(&records(&slice), expected);
        let values: Vec<_> = expected.iter().map(|record| record.value.clone()).collect();
        prop_assert_eq!(values_by_offsets(&slice), values);
        prop_assert_eq!(slice.timestamps().len(), 8 * expected.len());
        let alone = Batch::decode(slice.encode().unwrap()).unwrap();
        prop_assert_eq!(&records(&alone), expected);
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(batch) = Batch::decode(bytes.into()) {
            records(&batch);
        }
    }

    #[test]
    fn a_damaged_batch_is_a_batch_or_an_error(
        all in vec(record(), 0..8), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = build(&all).encode().unwrap().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(batch) = Batch::decode(bytes.into()) {
            records(&batch);
            values_by_offsets(&batch);
        }
    }

    #[test]
    fn a_truncated_batch_is_an_error(all in vec(record(), 1..8), cut in 1..40_usize) {
        let bytes = build(&all).encode().unwrap();
        let cut = cut.min(bytes.len());
        prop_assert!(Batch::decode(bytes.slice(..bytes.len() - cut)).is_err());
    }
}

#[test]
fn an_empty_batch_round_trips() {
    for empty in [Batch::default(), BatchBuilder::new().finish()] {
        assert!(empty.is_empty());
        assert!(empty.get(0).is_none());
        assert_eq!(empty.value_offsets(), Bytes::from_static(&[0; 4]));
        assert!(Batch::decode(empty.encode().unwrap()).unwrap().is_empty());
    }
}

#[test]
fn an_empty_key_is_not_an_absent_key() {
    let mut builder = BatchBuilder::new();
    builder.push(Some(b""), b"a", 0, &[]).unwrap();
    builder.push(None, b"b", 0, &[]).unwrap();
    let batch = builder.finish();
    assert_eq!(batch.get(0).unwrap().key, Some(&b""[..]));
    assert_eq!(batch.get(1).unwrap().key, None);
}

#[test]
fn the_last_header_of_a_name_counts() {
    let mut builder = BatchBuilder::new();
    let headers: [Header<'_>; 3] = [("a", b"1"), ("b", b"2"), ("a", b"3")];
    builder.push(None, b"", 0, &headers).unwrap();
    let batch = builder.finish();
    assert_eq!(batch.get(0).unwrap().header("a"), Some(&b"3"[..]));
    assert_eq!(batch.get(0).unwrap().header("c"), None);
}

#[test]
fn too_large_a_record_is_refused_and_the_builder_goes_on() {
    let mut builder = BatchBuilder::new();
    let large = vec![0; MAX_RECORD_BYTES + 1];
    assert!(matches!(
        builder.push(None, &large, 0, &[("a", b"b")]),
        Err(LogError::Invalid(_))
    ));
    let name = "n".repeat(1 << 16);
    assert!(builder.push(None, b"", 0, &[("a", b"b"), (&name, b"")]).is_err());
    builder.push(None, b"small", 7, &[]).unwrap();
    let batch = builder.finish();
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.get(0).unwrap().headers().count(), 0);
}

#[test]
fn too_large_a_batch_is_refused_before_the_record_that_makes_it_so() {
    let mut builder = BatchBuilder::new();
    let value = vec![0; 10 << 20];
    let mut pushed = 0;
    while builder.push(None, &value, 0, &[]).is_ok() {
        pushed += 1;
    }
    assert_eq!(pushed, 6);
    let batch = builder.finish();
    assert_eq!(Batch::decode(batch.encode().unwrap()).unwrap().len(), 6);
}
