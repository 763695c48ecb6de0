//! The promise of the product, tried at random: random queries over random rows that come in disorder, in epochs cut at random,
//! by tasks that die at random, give as a stream what they give at once over the rows that were not late.
//!
//! `RECHKA_CASES=n` tries so many; `RECHKA_SEED=n` begins with another seed (a failure tells its own).
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use rechka_engine::{Delivery, EngineError, Failpoint, RunOptions};

use crate::{
    grammar::Query,
    random::Random,
    world::{Input, Made, World, options},
};

/// Streams `e` and `f`, and a table that never changes while a query runs.
const RELATIONS: &str = "
CREATE STREAM e (id BIGINT, k TEXT, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '4 seconds') WITH (partitions = PARTITIONS);
CREATE STREAM f (id BIGINT, k TEXT, w BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '4 seconds') WITH (partitions = PARTITIONS);
CREATE TABLE names (k TEXT PRIMARY KEY, name TEXT) WITH (partitions = 1);
";
/// Of the tasks of a query; then it may come to its end.
const MOST_DEATHS: usize = 12;
const DELAY: i64 = 4_000;
/// The keys of rows; one of them is missing in the table.
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A row of `e` or `f`.
#[derive(Clone)]
struct Row {
    id: i64,
    time: i64,
    json: String,
}

/// The batches of a partition.
type Batches = Vec<Vec<Row>>;

struct Case {
    seed: u64,
    random: Random,
    query: Query,
    partitions: i64,
    /// Whether rows may come later than was declared.
    late: bool,
    delivery: Delivery,
    /// How often in a hundred steps a task dies.
    deaths: i64,
    /// How often in a hundred batches an epoch ends.
    cuts: i64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let query = Query::new(&mut random);
        let late = query.shape.tells_late_rows() && random.percent(50);
        let partitions = 1 + random.below(3);
        let delivery = match random.below(10) {
            // What is late depends on the epochs, which a repetition cuts in another way; a late row that is lost is missed.
            _ if late => Delivery::ExactlyOnce,
            0 | 1 => Delivery::AtLeastOnce,
            // Of what changes, the last state may be lost.
            2 | 3 if query.shape.appends() => Delivery::AtMostOnce,
            _ => Delivery::ExactlyOnce,
        };
        let deaths = [0, 2, 8][random.below(3) as usize];
        let cuts = [100, 60, 15][random.below(3) as usize];
        Case {
            seed,
            query,
            partitions,
            late,
            delivery,
            deaths,
            cuts,
            random,
        }
    }

    fn rows(&mut self, stream: &str) -> Vec<Batches> {
        let random = &mut self.random;
        let mut partitions = vec![vec![Vec::new()]; self.partitions as usize];
        let (mut now, value) = (30_000 + random.below(20_000), if stream == "e" { "v" } else { "w" });
        for id in 0..20 + random.below(60) {
            now += if random.percent(10) {
                random.below(15_000)
            } else {
                random.below(2_000)
            };
            let mut disorder = match random.below(10) {
                0..3 => random.below(DELAY + 1),
                3 if self.late => random.below(5 * DELAY),
                _ => 0,
            };
            // Often in the same moment as others, and on the bounds of windows.
            if random.percent(60) {
                now = (now + 999) / 1_000 * 1_000;
                disorder = disorder / 1_000 * 1_000;
            }
            let time = now - disorder;
            let key = if random.percent(5) {
                "null".to_owned()
            } else {
                format!("{:?}", random.one_of(&KEYS))
            };
            let number = if random.percent(10) {
                "null".to_owned()
            } else {
                random.below(10).to_string()
            };
            let json = format!(r#"{{"id":{id},"k":{key},"{value}":{number},"ts":{time}}}"#);
            let batches: &mut Batches = &mut partitions[random.below(self.partitions) as usize];
            if random.percent(30) {
                batches.push(Vec::new());
            }
            if let Some(batch) = batches.last_mut() {
                batch.push(Row { id, time, json });
            }
        }
        for batches in &mut partitions {
            batches.retain(|batch| !batch.is_empty());
        }
        partitions
    }

    fn options(&self) -> RunOptions {
        let (random, deaths) = (Mutex::new((Random(self.seed ^ 1), MOST_DEATHS)), self.deaths);
        let attempts = if self.seed.is_multiple_of(2) { 1 } else { 3 };
        let failpoint = Failpoint::new(move |step| {
            let mut state = random.lock().unwrap();
            let (random, left) = &mut *state;
            if *left == 0 || !random.percent(deaths) {
                return Ok(());
            }
            *left -= 1;
            let panics = random.percent(50);
            drop(state);
            if panics {
                std::panic::resume_unwind(Box::new("killed"));
            }
            Err(EngineError::Query(format!("killed at {step:?}")))
        });
        let snapshot_bytes = if self.seed.is_multiple_of(3) { 500 } else { 1 << 20 };
        RunOptions {
            delivery: self.delivery,
            attempts: Some(attempts),
            snapshot_bytes,
            failpoint,
            ..options()
        }
    }

    /// Runs the query as often as it takes to come to the end.
    fn stream(&self, world: &World) -> Result<Made, String> {
        let (text, options) = (self.query.stream(), self.options());
        for _ in 0..=MOST_DEATHS {
            match world.run(&text, &options) {
                Err(error) if error.starts_with("killed") || error == EngineError::Panicked.to_string() => {}
                ended => return ended,
            }
        }
        Err("it never ends".to_owned())
    }

    fn check(mut self) -> Result<usize, String> {
        let cuts = (Mutex::new(Random(self.seed ^ 2)), self.cuts);
        let cut = Arc::new(move || cuts.0.lock().unwrap().percent(cuts.1));
        let world = World::new(
            &RELATIONS.replace("PARTITIONS", &self.partitions.to_string()),
            Path::new(""),
            cut,
        );
        let names = world.relation("names");
        let name = |key: &&str| {
            (
                Some(format!(r#"{{"k":"{key}"}}"#)),
                format!(r#"{{"k":"{key}","name":"N{key}"}}"#),
                0,
            )
        };
        world.append(&names, 0, &KEYS[..4].iter().map(name).collect::<Vec<Input>>());
        let mut input = BTreeMap::new();
        for stream in ["e", "f"] {
            let relation = world.relation(stream);
            let rows = self.rows(stream);
            for (partition, batch) in rows
                .iter()
                .enumerate()
                .flat_map(|(number, batches)| batches.iter().map(move |batch| (number, batch)))
            {
                let records: Vec<Input> = batch.iter().map(|row| (None, row.json.clone(), 0)).collect();
                world.append(&relation, partition as u32, &records);
            }
            input.insert(stream, rows);
        }
        let made = self.stream(&world)?;
        let late: BTreeSet<(i64, String)> = made.late.iter().map(|(_, _, value)| identity(value)).collect();
        if late.len() != made.late.len() && self.delivery == Delivery::ExactlyOnce {
            return Err(format!("a late row came twice: {:?}", made.late));
        }
        self.check_late(&late, &input["e"])?;
        let batch = world.query(&self.query.batch(&late))?;
        let (stream, batch) = (counts(made.rows()), counts(batch));
        let (differ, promise): (fn(usize, usize) -> bool, _) = match self.delivery {
            Delivery::ExactlyOnce => (|found, expected| found != expected, "exactly"),
            Delivery::AtLeastOnce => (|found, expected| found < expected || expected == 0, "at least"),
            Delivery::AtMostOnce => (|found, expected| found > expected, "at most"),
        };
        let rows: BTreeSet<&String> = stream.keys().chain(batch.keys()).collect();
        let count = |rows: &BTreeMap<String, usize>, row: &String| rows.get(row).copied().unwrap_or_default();
        let wrong: Vec<_> = rows
            .into_iter()
            .filter(|row| differ(count(&stream, row), count(&batch, row)))
            .collect();
        let tell = |row: &&String| {
            format!(
                "{row}: {} times, wanted {promise} {}",
                count(&stream, row),
                count(&batch, row)
            )
        };
        let told: Vec<_> = wrong.iter().map(tell).collect();
        let late = late.len();
        (wrong.is_empty())
            .then_some(batch.len())
            .ok_or_else(|| format!("{late} late\n{}", told.join("\n")))
    }

    /// No row is late that came in time; and when every batch is an epoch, a row is late exactly if the rule says so.
    fn check_late(&self, late: &BTreeSet<(i64, String)>, input: &[Batches]) -> Result<(), String> {
        if !self.late {
            return late
                .is_empty()
                .then_some(())
                .ok_or_else(|| format!("rows that came in time are late: {late:?}"));
        }
        let Some(ends) = self.query.window_ends() else {
            return Ok(());
        };
        let mut ruled = BTreeSet::new();
        for batches in input {
            let mut watermark = i64::MIN;
            for batch in batches {
                for row in batch.iter().filter(|row| self.query.keeps(&row.json)) {
                    let missed = ends(row.time).into_iter().filter(|end| *end <= watermark);
                    ruled.extend(missed.map(|end| (row.id, text_of(end))));
                }
                watermark = batch.iter().map(|row| row.time - DELAY).fold(watermark, i64::max);
            }
        }
        // In longer epochs fewer rows are late, never others.
        let fits = if self.cuts == 100 && self.deaths == 0 {
            *late == ruled
        } else {
            late.is_subset(&ruled)
        };
        fits.then_some(())
            .ok_or_else(|| format!("late are {late:?}, and by the rule {ruled:?}"))
    }
}

/// The row that a record of a late row is about, and the end of the window it missed. Behind an exchange the record is what the query
/// makes of that row alone.
fn identity(record: &str) -> (i64, String) {
    let row: serde_json::Value = serde_json::from_str(record).unwrap();
    let id = row["id"].as_i64().or(row["max(e.id)"].as_i64());
    (
        id.unwrap_or_else(|| panic!("no id in {record}")),
        row["window_end"].as_str().unwrap_or_default().to_owned(),
    )
}

/// A time in milliseconds of 1970's first days as JSON has it.
fn text_of(time: i64) -> String {
    let (seconds, rest) = (time / 1000, time % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let rest = if rest == 0 {
        String::new()
    } else {
        format!(".{rest:03}")
    };
    format!("1970-01-01T{hours:02}:{minutes:02}:{seconds:02}{rest}")
}

fn counts(rows: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row).or_default() += 1;
    }
    counts
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn random_queries_give_the_same_rows_as_a_stream_and_at_once() {
    let (cases, first, since) = (number("RECHKA_CASES", 120), number("RECHKA_SEED", 1), Instant::now());
    let (mut failures, mut rows) = (Vec::new(), 0);
    for seed in first..first + cases {
        let case = Case::new(seed);
        let about = format!(
            "RECHKA_SEED={seed} RECHKA_CASES=1: {} partitions, {:?}, {} % deaths, {} % cuts, {}\n{}\n",
            case.partitions,
            case.delivery,
            case.deaths,
            case.cuts,
            if case.late { "late rows" } else { "no late rows" },
            case.query.stream(),
        );
        match case.check() {
            Ok(some) => rows += some,
            Err(error) => failures.push(format!("{about}{error}\n")),
        }
    }
    println!("{cases} cases, {rows} rows, {:?}", since.elapsed());
    assert!(
        failures.is_empty(),
        "{} of {cases} fail:\n\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(rows as u64 > cases, "{rows} rows are too few to be of interest");
}
