//! MUSTs 11 to 13: what is deleted.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Subject, append, at, batch, eventually, now, unique, values};
use crate::{BatchBuilder, Cleanup, Retention, TopicSpec};

/// MUST 11.
pub fn records_before_an_offset_are_deleted(subject: &mut dyn Subject) {
    let name = super::topic(subject, "before", 2);
    let partition = at(&name, 0);
    for chunk in 0..6 {
        let texts = (0..10).map(|number| format!("{}", 10 * chunk + number));
        append(subject.log(), partition.clone(), batch(texts));
    }
    append(subject.log(), at(&name, 1), batch(["untouched"]));
    let all = values(subject.log(), &partition, 0);
    let end = subject.log().offsets(&partition).unwrap().end;
    let (mut start, mut furthest) = (0, 0);
    for index in [0, 10, 25, 24, 59] {
        let before = all[index].0;
        subject.log().delete_before(&partition, before).unwrap();
        if index == 25 {
            subject.reopen();
        }
        let offsets = subject.log().offsets(&partition).unwrap();
        assert!(offsets.start <= before.max(start) && offsets.start >= start && offsets.end == end);
        start = offsets.start;
        let left = values(subject.log(), &partition, 0);
        assert!(all.ends_with(&left));
        furthest = furthest.max(index);
        assert!(left.len() >= all.len() - furthest);
        assert_eq!(
            left.first().map(|(offset, _)| *offset),
            all.iter().map(|(o, _)| *o).find(|o| *o >= start)
        );
    }
    subject.log().delete_before(&partition, end).unwrap();
    subject.reopen();
    let offsets = subject.log().offsets(&partition).unwrap();
    assert_eq!(offsets.end, end, "the end stays when everything is deleted");
    let next = append(subject.log(), partition.clone(), batch(["next"]));
    assert!(next >= end);
    let texts = super::texts(subject.log(), &partition);
    assert_eq!(texts.last().map(String::as_str), Some("next"));
    assert_eq!(super::texts(subject.log(), &at(&name, 1)), ["untouched"]);
}

/// MUST 12.
pub fn retention_by_size_deletes_the_oldest(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = unique("size");
    let most = 1 << 20;
    log.create_topic(&TopicSpec {
        retention: Retention {
            bytes: Some(most),
            age: None,
        },
        ..TopicSpec::new(name.as_str(), 1)
    })
    .unwrap();
    let partition = at(&name, 0);
    let mut state = 1_u64;
    let mut last = Vec::new();
    for _ in 0..40 {
        last = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        append(log, partition.clone(), batch([&last]));
    }
    eventually(subject, "retention by size", || {
        subject.clean();
        let start = log.offsets(&partition).unwrap().start;
        // Whole batches are deleted; some implementations round up to larger units.
        start > 0 && values(log, &partition, start).len() as u64 * 100_000 <= 3 * most
    });
    let left = values(log, &partition, 0);
    assert!(left.last().is_some_and(|(_, value)| *value == last));
    assert!(left.len() >= 5, "more than needed was deleted");
}

/// MUST 12.
pub fn retention_by_age_deletes_the_oldest(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = unique("age");
    log.create_topic(&TopicSpec {
        retention: Retention {
            age: Some(Duration::from_secs(3600)),
            bytes: None,
        },
        ..TopicSpec::new(name.as_str(), 1)
    })
    .unwrap();
    let partition = at(&name, 0);
    for age in [7200, 4000, 60, 0] {
        let mut builder = BatchBuilder::new();
        let time = now() - 1000 * age;
        builder.push(None, age.to_string().as_bytes(), time, &[]).unwrap();
        append(log, partition.clone(), builder.finish());
    }
    let mut left = Vec::new();
    eventually(subject, "retention by age", || {
        subject.clean();
        left = super::texts(log, &partition);
        !left.contains(&"7200".to_owned()) && (!subject.deletes_batches() || left.len() <= 2)
    });
    assert!(left.ends_with(&["60".to_owned(), "0".to_owned()]));
}

/// MUST 13.
pub fn compaction_keeps_the_last_record_of_every_key(subject: &mut dyn Subject) {
    let name = unique("compact");
    let spec = TopicSpec {
        cleanup: Cleanup::Compact,
        ..TopicSpec::new(name.as_str(), 1)
    };
    subject.log().create_topic(&spec).unwrap();
    let partition = at(&name, 0);
    let mut last = BTreeMap::new();
    let mut written = 0;
    for round in 0..30_u32 {
        let mut builder = BatchBuilder::new();
        for number in 0..20_u32 {
            let key = format!("key {}", (round * 7 + number * number) % 40);
            let value = format!("{round} {number}");
            builder
                .push(Some(key.as_bytes()), value.as_bytes(), now(), &[])
                .unwrap();
            written += 1;
            last.insert(key, value);
        }
        append(subject.log(), partition.clone(), builder.finish());
    }
    let before: BTreeMap<_, _> = values(subject.log(), &partition, 0).into_iter().collect();
    assert_eq!(before.len(), written);
    let end = subject.log().offsets(&partition).unwrap().end;
    let deadline = Instant::now() + subject.patience();
    while subject.compacts_soon() && values(subject.log(), &partition, 0).len() == written {
        assert!(Instant::now() < deadline, "not within patience: compaction");
        subject.clean();
        // What was just written may still be served from memory.
        subject.reopen();
    }
    for _ in 0..2 {
        subject.reopen();
        assert_eq!(subject.log().offsets(&partition).unwrap().end, end);
        let mut reader = subject.log().read(vec![(partition.clone(), 0)]).unwrap();
        let mut position = 0;
        let mut latest = BTreeMap::new();
        while position < end {
            let fetched = reader.poll(Duration::from_secs(30)).unwrap();
            let fetched = fetched.expect("a record before the end");
            assert!(fetched.base_offset >= position, "out of order");
            position = fetched.next_offset();
            for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
                assert_eq!(before.get(&offset).map(Vec::as_slice), Some(record.value));
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                latest.insert(key, String::from_utf8(record.value.to_vec()).unwrap());
            }
        }
        assert!(latest == last, "the last record of some key is missing");
    }
}
