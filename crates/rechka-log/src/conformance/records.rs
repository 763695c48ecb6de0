//! MUSTs 4 to 10: appending and reading.
use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use super::{Subject, append, at, batch, eventually, texts, topic, unique, values};
use crate::{Append, Batch, BatchBuilder, Cleanup, LogError, Reader, TopicSpec};

/// MUST 4.
pub fn records_come_back_as_they_went_in(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "fidelity", 1);
    let mut builder = BatchBuilder::new();
    let large = vec![7; 300_000];
    builder.push(None, b"plain", 1, &[]).unwrap();
    builder.push(Some(b""), b"", i64::from(u32::MAX), &[]).unwrap();
    let headers: [(&str, &[u8]); 3] = [("a", b"1"), ("\u{448}", b""), ("a", b"\x00\xff")];
    builder.push(Some(b"\xff\x00"), &large, 3, &headers).unwrap();
    let expected = builder.finish();
    append(log, at(&name, 0), expected.clone());
    // From memory and, opened again, from the disk.
    for _ in 0..2 {
        let mut reader = subject.log().read(vec![(at(&name, 0), 0)]).unwrap();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let fetched = reader.poll(Duration::from_secs(10)).unwrap().unwrap();
            got.extend((0..fetched.batch.len()).map(|index| (fetched.batch.clone(), index)));
        }
        for ((batch, index), expected) in got.iter().zip(expected.iter()) {
            let record = batch.get(*index).unwrap();
            assert_eq!(record.key, expected.key);
            assert!(record.value == expected.value);
            assert_eq!(record.timestamp, expected.timestamp);
            assert!(record.headers().eq(expected.headers()));
        }
        drop(reader);
        subject.reopen();
    }
}

/// MUST 5.
pub fn offsets_grow_in_the_order_of_each_producer(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "order", 1);
    thread::scope(|scope| {
        for producer in 0..4 {
            let name = &name;
            scope.spawn(move || {
                let acks: Vec<_> = (0..50)
                    .map(|number| {
                        let values = [
                            format!("{producer} {}", 2 * number),
                            format!("{producer} {}", 2 * number + 1),
                        ];
                        let append = Append {
                            to: at(name, 0),
                            batch: batch(values),
                        };
                        log.append(vec![append]).unwrap()
                    })
                    .collect();
                let offsets: Vec<_> = acks.into_iter().map(|ack| ack.wait().unwrap()[0]).collect();
                assert!(offsets.is_sorted_by(|a, b| a < b));
                let all: HashMap<_, _> = values(log, &at(name, 0), 0).into_iter().collect();
                for (number, offset) in offsets.iter().enumerate() {
                    let expected = format!("{producer} {}", 2 * number);
                    assert_eq!(all.get(offset), Some(&expected.into_bytes()));
                }
            });
        }
    });
    let mut next = [0; 4];
    for text in texts(log, &at(&name, 0)) {
        let (producer, number) = text.split_once(' ').unwrap();
        let producer: usize = producer.parse().unwrap();
        assert_eq!(number.parse::<u32>().unwrap(), next[producer]);
        next[producer] += 1;
    }
    assert_eq!(next, [100; 4]);
}

/// MUST 6.
pub fn a_wrong_part_refuses_the_whole_append(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "whole", 2);
    let compacted = unique("compacted");
    log.create_topic(&TopicSpec {
        cleanup: Cleanup::Compact,
        ..TopicSpec::new(compacted.as_str(), 1)
    })
    .unwrap();
    let part = |to, batch| Append { to, batch };
    for wrong in [
        part(at(&name, 1), Batch::default()),
        part(at(&name, 2), batch(["x"])),
        part(at(&unique("missing"), 0), batch(["x"])),
        part(at(&compacted, 0), batch(["without a key"])),
    ] {
        let result = log.append(vec![part(at(&name, 0), batch(["half"])), wrong]);
        assert!(result.and_then(crate::Ack::wait).is_err());
    }
    let both = vec![part(at(&name, 0), batch(["one"])), part(at(&name, 1), batch(["two"]))];
    assert_eq!(log.append(both).unwrap().wait().unwrap().len(), 2);
    assert_eq!(texts(log, &at(&name, 0)), ["one"]);
    assert_eq!(texts(log, &at(&name, 1)), ["two"]);
    assert!(log.append(Vec::new()).unwrap().wait().unwrap().is_empty());
}

/// MUST 7.
pub fn acknowledged_records_survive_reopening(subject: &mut dyn Subject) {
    let name = topic(subject, "durable", 2);
    let mut expected = Vec::new();
    for number in 0..20 {
        let value = format!("value {number}");
        append(subject.log(), at(&name, 1), batch([&value]));
        expected.push(value);
        assert_eq!(texts(subject.log(), &at(&name, 1)), expected);
        if number % 7 == 0 {
            subject.reopen();
        }
    }
    assert_eq!(texts(subject.log(), &at(&name, 1)), expected);
    assert!(texts(subject.log(), &at(&name, 0)).is_empty());
}

/// MUST 8.
pub fn a_reader_starts_inside_a_batch(subject: &mut dyn Subject) {
    let name = topic(subject, "inside", 1);
    let partition = at(&name, 0);
    for chunk in 0..5 {
        let texts = (0..10).map(|number| format!("{}", 10 * chunk + number));
        append(subject.log(), partition.clone(), batch(texts));
    }
    for _ in 0..2 {
        let all = values(subject.log(), &partition, 0);
        assert_eq!(all.len(), 50);
        for (index, (offset, _)) in all.iter().enumerate() {
            assert!(values(subject.log(), &partition, *offset) == all[index..]);
        }
        subject.reopen();
    }
}

/// MUST 8.
pub fn a_waiting_reader_is_woken_by_the_commit(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "woken", 1);
    let mut reader = log.read(vec![(at(&name, 0), 0)]).unwrap();
    assert!(reader.poll(Duration::ZERO).unwrap().is_none());
    assert!(reader.poll(Duration::from_millis(50)).unwrap().is_none());
    let patience = subject.patience();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let begun = Instant::now();
            // Far longer than the check may take: only a wake-up ends it in time.
            let fetched = reader.poll(10 * patience).unwrap().unwrap();
            (fetched, begun.elapsed())
        });
        thread::sleep(Duration::from_millis(100));
        append(log, at(&name, 0), batch(["news"]));
        let (fetched, waited) = waiting.join().unwrap();
        assert_eq!(fetched.batch.get(0).unwrap().value, b"news");
        assert!(waited < patience);
    });
}

/// MUST 8.
pub fn a_reader_of_several_partitions_gets_all_of_them(subject: &mut dyn Subject) {
    let log = subject.log();
    let (one, two) = (topic(subject, "several", 3), topic(subject, "several", 1));
    let partitions = [at(&one, 0), at(&one, 2), at(&two, 0)];
    for round in 0..10 {
        for partition in &partitions {
            append(log, partition.clone(), batch([format!("{round}")]));
        }
    }
    append(log, at(&one, 1), batch(["not asked for"]));
    let from = partitions.iter().map(|partition| (partition.clone(), 0));
    let mut reader = log.read(from.collect()).unwrap();
    let mut got: HashMap<_, Vec<String>> = HashMap::new();
    while got.values().map(Vec::len).sum::<usize>() < 30 {
        let fetched = reader.poll(Duration::from_secs(30)).unwrap().expect("all records");
        let values = fetched
            .batch
            .iter()
            .map(|record| String::from_utf8_lossy(record.value).into_owned());
        got.entry(fetched.from.clone()).or_default().extend(values);
    }
    assert!(reader.poll(Duration::from_millis(100)).unwrap().is_none());
    let expected: Vec<_> = (0..10).map(|round| round.to_string()).collect();
    assert_eq!(got.len(), 3);
    for partition in &partitions {
        assert_eq!(got[partition], expected);
    }
}

/// MUST 8.
pub fn a_reader_says_that_all_is_read(subject: &mut dyn Subject) {
    let name = topic(subject, "all", 2);
    let log = subject.log();
    let next = append(log, at(&name, 0), batch(["a", "b"])) + 2;
    let mut reader = log.read(vec![(at(&name, 0), 0), (at(&name, 1), 0)]).unwrap();
    let mut records = 0;
    let mut read = |reader: &mut Box<dyn Reader>| {
        eventually(subject, "the end", || {
            match reader.poll(Duration::from_millis(100)).unwrap() {
                Some(fetched) => records += fetched.batch.len(),
                None => return reader.is_at_end(),
            }
            false
        });
        records
    };
    assert_eq!(read(&mut reader), 2);
    append(log, at(&name, 1), batch(["c"]));
    assert_eq!(read(&mut reader), 3);
    // What was deleted is not waited for.
    log.delete_before(&at(&name, 0), next).unwrap();
    let mut reader = log.read(vec![(at(&name, 0), 0)]).unwrap();
    read(&mut reader);
}

/// MUST 9.
pub fn offsets_span_what_is_there(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "span", 1);
    let empty = log.offsets(&at(&name, 0)).unwrap();
    assert!(empty.is_empty());
    let first = append(log, at(&name, 0), batch(["a", "b", "c"]));
    let offsets = log.offsets(&at(&name, 0)).unwrap();
    assert_eq!(offsets.start, first);
    assert!(offsets.end >= first + 3);
    assert_eq!(log.start(&at(&name, 0)).unwrap(), offsets.start);
    assert!(
        !log.is_undecided(&at(&name, 0)).unwrap(),
        "what is acknowledged is decided"
    );
    let next = append(log, at(&name, 0), batch(["d"]));
    assert!(next >= offsets.end);
}

/// MUST 10.
pub fn the_first_offset_at_a_time_is_found(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "time", 1);
    let partition = at(&name, 0);
    let mut expected = Vec::new();
    // Times need not grow.
    for times in [[10, 20], [15, 30], [40, 40]] {
        let mut builder = BatchBuilder::new();
        for time in times {
            builder.push(None, b"x", time, &[]).unwrap();
        }
        let base = append(log, partition.clone(), builder.finish());
        expected.extend([(times[0], base), (times[1], base + 1)]);
    }
    let end = log.offsets(&partition).unwrap().end;
    for time in [i64::MIN, 0, 10, 11, 20, 21, 30, 31, 40, 41, i64::MAX] {
        let first = expected.iter().find(|(recorded, _)| *recorded >= time);
        let found = log.offset_at(&partition, time).unwrap();
        assert_eq!(found, first.map_or(end, |(_, offset)| *offset), "time {time}");
    }
    let nowhere = log.offset_at(&at(&unique("missing"), 0), 0);
    assert!(matches!(nowhere, Err(LogError::UnknownTopic(_))));
}
