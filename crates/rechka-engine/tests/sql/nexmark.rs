//! Nexmark's queries as published.
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use rechka_engine::RunOptions;

use crate::{
    random::Random,
    world::{World, options},
};

const STREAMS: &str = include_str!("../../../../bench/nexmark/streams.sql");
const Q0: &str = include_str!("../../../../bench/nexmark/q0.sql");
const Q1: &str = include_str!("../../../../bench/nexmark/q1.sql");
const Q2: &str = include_str!("../../../../bench/nexmark/q2.sql");
const Q3: &str = include_str!("../../../../bench/nexmark/q3.sql");
const Q5: &str = include_str!("../../../../bench/nexmark/q5.sql");
const Q7: &str = include_str!("../../../../bench/nexmark/q7.sql");
const Q8: &str = include_str!("../../../../bench/nexmark/q8.sql");
const Q11: &str = include_str!("../../../../bench/nexmark/q11.sql");
const Q12: &str = include_str!("../../../../bench/nexmark/q12.sql");

/// Events, 10 ms apart; one of ten is up to 2 s older. Of 50, one is a person, three are auctions, 46 are bids.
const EVENTS: i64 = 6_000;

fn world(partitions: i64) -> World {
    let cuts = Mutex::new(Random(partitions as u64));
    let cut = Arc::new(move || cuts.lock().unwrap().percent(60));
    let world = World::new(
        &STREAMS.replace(");", &format!(") WITH (partitions = {partitions});")),
        Path::new(""),
        cut,
    );
    let mut random = Random(42);
    let mut waiting = BTreeMap::<(&str, i64), Vec<_>>::new();
    for number in 0..EVENTS {
        let (topic, json) = event(number, &mut random);
        let place = (topic, random.below(partitions));
        let records = waiting.entry(place).or_default();
        records.push((None, json, 0));
        if records.len() > 40 {
            world.append(&world.relation(topic), place.1 as u32, &std::mem::take(records));
        }
    }
    for ((topic, partition), records) in waiting {
        if !records.is_empty() {
            world.append(&world.relation(topic), partition as u32, &records);
        }
    }
    world
}

fn event(number: i64, random: &mut Random) -> (&'static str, String) {
    let disorder = if random.percent(10) { random.below(2_000) } else { 0 };
    let at = (number * 10 - disorder).max(0);
    let (person, auction) = (number / 50, number / 50 * 3 + (number % 50).min(3));
    match number % 50 {
        0 => {
            let (state, city) = (
                random.one_of(&["OR", "ID", "CA", "WA", "AZ"]),
                random.one_of(&["Bend", "Boise"]),
            );
            let json = format!(
                r#"{{"id":{person},"name":"P{person}","emailAddress":"x","creditCard":"y","city":"{city}","state":"{state}","dateTime":{at},"extra":"e"}}"#
            );
            ("person", json)
        }
        1..=3 => {
            // Three of four are of the newest people.
            let seller = if random.percent(75) {
                person - random.below(2)
            } else {
                random.below(person + 1)
            };
            let category = 10 + random.below(5);
            let json = format!(
                r#"{{"id":{auction},"itemName":"i","description":"d","initialBid":1,"reserve":2,"dateTime":{at},"expires":{},"seller":{seller},"category":{category},"extra":"e"}}"#,
                at + 5_000
            );
            ("auction", json)
        }
        _ => {
            let auction = (auction - random.below(20)).max(0);
            let (bidder, price) = (random.below(person + 1), 100 + random.below(2_000));
            let json = format!(
                r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"c","url":"u","dateTime":{at},"extra":"{number}"}}"#
            );
            ("bid", json)
        }
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[test]
fn published_queries_give_the_same_rows_as_a_stream_and_at_once() {
    let queries = [
        ("q0", Q0, ""),
        ("q1", Q1, ""),
        ("q2", Q2, ""),
        ("q3", Q3, "WITH (state_retention = '1 hour')"),
        ("q5", Q5, ""),
        ("q7", Q7, ""),
        ("q8", Q8, ""),
        ("q11", Q11, ""),
    ];
    for partitions in [1, 3] {
        let world = world(partitions);
        for (name, sql, with) in queries {
            let made = world
                .run(&format!("CREATE STREAM {name} {with} AS {sql}"), &options())
                .unwrap();
            let (stream, batch) = (sorted(made.rows()), sorted(world.query(sql).unwrap()));
            assert!(
                batch.len() > 5,
                "{name} has {} rows: too few to be of interest",
                batch.len()
            );
            assert!(made.late.is_empty(), "{name}: {:?}", made.late);
            let differ = stream.iter().zip(&batch).find(|(left, right)| left != right);
            let lengths = (stream.len(), batch.len());
            assert!(
                stream == batch,
                "{name} over {partitions} partitions: {lengths:?} rows, first {differ:?}"
            );
        }
    }
}

#[test]
fn bids_by_processing_time_are_all_counted_in_the_windows_of_the_clock() {
    for partitions in [1, 3] {
        let world = world(partitions);
        let clock = AtomicI64::new(0);
        let options = RunOptions {
            clock: Arc::new(move || clock.fetch_add(1_000_000, Relaxed)),
            ..options()
        };
        let made = world.run(&format!("CREATE STREAM q12 AS {Q12}"), &options).unwrap();
        let (mut counts, mut windows) = (BTreeMap::<String, i64>::new(), BTreeMap::<String, i64>::new());
        for row in made.rows() {
            let cells: Vec<&str> = row.split(" | ").collect();
            *counts.entry(cells[0].to_owned()).or_default() += cells[1].parse::<i64>().unwrap();
            *windows.entry(cells[2].to_owned()).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .into_iter()
            .map(|(bidder, count)| format!("{bidder} | {count}"))
            .collect();
        let batch = world
            .query("SELECT bidder, count(*) AS n FROM bid GROUP BY bidder")
            .unwrap();
        assert_eq!(sorted(counts), sorted(batch));
        assert!(windows.len() > 1, "{windows:?}");
    }
}
