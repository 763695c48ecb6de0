use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::{
    array::AsArray,
    datatypes::{DataType, Field, Int64Type, Schema},
};
use proptest::prelude::*;
use rechka_formats::Format;
use rechka_log::{Append, BatchBuilder, Cleanup, Log, Offset, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::{Kind, Relation};
use serde_json::{Value, json};

use super::*;
use crate::StoreError;

const PATIENCE: Duration = Duration::from_secs(30);
const VIEW: &str = "accounts";

fn relation(partitions: u32) -> Relation {
    Relation {
        name: VIEW.into(),
        kind: Kind::View,
        schema: Arc::new(Schema::new(vec![
            Field::new("bank", DataType::Utf8, false),
            Field::new("account", DataType::Int64, false),
            Field::new("amount", DataType::Int64, true),
        ])),
        event_time: None,
        related_times: vec![],
        key: vec![0, 1],
        topic: VIEW.into(),
        partitions,
        format: Format::Json,
        metadata: vec![],
        file: None,
    }
}

fn row(bank: &str, account: i64, amount: i64) -> (Value, Option<Value>) {
    let key = json!({"bank": bank, "account": account});
    let value = json!({"bank": bank, "account": account, "amount": amount});
    (key, Some(value))
}

fn deleted(bank: &str, account: i64) -> (Value, Option<Value>) {
    (row(bank, account, 0).0, None)
}

struct Bench {
    log: Arc<SqliteLog>,
    views: Views,
    view: Arc<View>,
}

impl Bench {
    fn new(directory: &Path, partitions: u32) -> Self {
        Self::with(directory, partitions, Limits::default())
    }

    fn with(directory: &Path, partitions: u32, limits: Limits) -> Self {
        let log = Arc::new(SqliteLog::open(directory).unwrap());
        let topic = TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(VIEW, partitions)
        };
        log.create_topic(&topic).unwrap();
        let views = Views::new(log.clone(), limits);
        views.follow(vec![relation(partitions)]).unwrap();
        let view = views.get(VIEW).unwrap();
        Self { log, views, view }
    }

    /// Writes an epoch and waits until it is shown.
    fn epoch(&self, partition: u32, rows: &[(Value, Option<Value>)]) {
        let end = write(&*self.log, partition, rows);
        assert!(
            self.view.wait_for(partition, end, PATIENCE),
            "{:?}",
            self.view.statistics()
        );
    }

    fn scan(&self, equal: &[(&str, &str)]) -> Vec<Value> {
        let filter = self.view.filter(equal.iter().copied()).unwrap();
        values(&self.view.scan(&filter, 1000).unwrap().rows)
    }
}

fn write(log: &dyn Log, partition: u32, rows: &[(Value, Option<Value>)]) -> Offset {
    let mut batch = BatchBuilder::new();
    for (key, value) in rows {
        let value = value.as_ref().map(Value::to_string).unwrap_or_default();
        batch
            .push(Some(key.to_string().as_bytes()), value.as_bytes(), 1, &[])
            .unwrap();
    }
    write_batch(log, partition, batch)
}

fn write_batch(log: &dyn Log, partition: u32, batch: BatchBuilder) -> Offset {
    let records = batch.len() as Offset;
    let append = Append {
        to: TopicPartition::new(VIEW, partition),
        batch: batch.finish(),
    };
    log.append(vec![append]).unwrap().wait().unwrap()[0] + records
}

fn values(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|row| serde_json::from_str(row.value()).unwrap())
        .collect()
}

fn some(rows: &[(Value, Option<Value>)]) -> Vec<Value> {
    rows.iter().filter_map(|(_, value)| value.clone()).collect()
}

#[test]
fn the_last_row_of_a_key_counts_and_rows_come_by_key() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 2);
    bench.epoch(0, &[row("b", 2, 5), row("a", 10, 1), row("a", 9, 1)]);
    bench.epoch(1, &[row("c", -1, 7)]);
    bench.epoch(0, &[row("a", 10, 2), deleted("b", 2), deleted("b", 3)]);
    assert_eq!(
        bench.scan(&[]),
        some(&[row("a", 9, 1), row("a", 10, 2), row("c", -1, 7)])
    );
    assert_eq!(bench.scan(&[("bank", "a")]), some(&[row("a", 9, 1), row("a", 10, 2)]));
    assert_eq!(
        bench.scan(&[("account", "10"), ("bank", "a")]),
        some(&[row("a", 10, 2)])
    );
    assert_eq!(bench.scan(&[("amount", "7")]), some(&[row("c", -1, 7)]));
    assert_eq!(bench.scan(&[("amount", "7"), ("bank", "a")]), some(&[]));
    assert_eq!(
        bench.scan(&[("account", "9"), ("amount", "1")]),
        some(&[row("a", 9, 1)])
    );
    let found = bench.view.get(r#"{"account":10,"bank":"a"}"#).unwrap().unwrap();
    assert_eq!(values(&[found]), some(&[row("a", 10, 2)]));
    assert_eq!(bench.view.get(r#"{"account":11,"bank":"a"}"#).unwrap(), None);
    let page = bench.view.scan(&bench.view.filter([]).unwrap(), 2).unwrap();
    assert_eq!(
        (values(&page.rows), page.more),
        (some(&[row("a", 9, 1), row("a", 10, 2)]), true)
    );
    let statistics = bench.view.statistics();
    assert_eq!(
        (statistics.rows, statistics.lag, statistics.offsets),
        (3, 0, vec![6, 1])
    );
}

#[test]
fn rows_become_arrow_all_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 1);
    let rows: Vec<_> = (0..10_000).map(|account| row("a", account, 2)).collect();
    bench.epoch(0, &rows);
    let found = bench.view.scan(&Filter::default(), 20_000).unwrap().rows;
    let batches = bench.view.batches(&found).unwrap();
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(),
        [8192, 1808]
    );
    assert_eq!(
        batches[1]
            .column_by_name("account")
            .unwrap()
            .as_primitive::<Int64Type>()
            .value(0),
        8192
    );
    assert!(bench.view.batches(&[]).unwrap().is_empty());
    let (key, _) = row("a", 7, 0);
    bench.epoch(0, &[(key, Some(json!({"bank": "a", "account": 7, "amount": "much"})))]);
    let found = bench.view.scan(&Filter::default(), 20_000).unwrap().rows;
    let error = bench.view.batches(&found).unwrap_err().to_string();
    assert!(error.contains("\"account\":7") && error.contains("amount"), "{error}");
}

#[test]
fn mistakes_are_answered_with_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 1);
    let text = |error: StoreError| error.to_string();
    let unknown = text(bench.views.get("account").err().unwrap());
    assert_eq!(unknown, r#"there is no view "account"; there are accounts"#);
    let column = text(bench.view.filter([("amout", "1")]).err().unwrap());
    assert!(column.ends_with("its columns are bank, account, amount"), "{column}");
    let value = text(bench.view.filter([("amount", "much")]).err().unwrap());
    assert!(value.contains("\"much\"") && value.contains("Int64"), "{value}");
    let key = text(bench.view.get("7").err().unwrap());
    assert!(key.ends_with(r#"write {"bank":…,"account":…}"#), "{key}");
    let stream = Relation {
        key: vec![],
        ..relation(1)
    };
    assert!(text(bench.views.follow(vec![stream]).err().unwrap()).contains("it has no key"));
}

#[test]
fn records_that_are_no_rows_are_counted_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 1);
    let mut batch = BatchBuilder::new();
    let (key, value) = row("a", 1, 1);
    let (key, value) = (key.to_string(), value.unwrap().to_string());
    for (key, value) in [
        (&b"7"[..], value.as_bytes()),
        (b"\xff", value.as_bytes()),
        (key.as_bytes(), b"{"),
        (key.as_bytes(), b"[]"),
        (key.as_bytes(), b"{\"bank\":\"\xff\"}"),
        (key.as_bytes(), b"{\n\"amount\":\r\n2}"),
    ] {
        batch.push(Some(key), value, 0, &[]).unwrap();
    }
    let end = write_batch(&*bench.log, 0, batch);
    assert!(bench.view.wait_for(0, end, PATIENCE));
    assert_eq!(bench.view.statistics().malformed, 5);
    let rows = bench.view.scan(&Filter::default(), 10).unwrap().rows;
    assert_eq!(rows[0].value(), "{ \"amount\":  2}");
}

#[test]
fn a_restart_brings_the_same_rows_also_after_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let bench = Bench::new(directory.path(), 2);
        for epoch in 0..50 {
            let bank = ["a", "b"][epoch as usize % 2];
            let rows: Vec<_> = (0..20)
                .map(|account| row(bank, account * (epoch % 3 + 1), epoch))
                .collect();
            bench.epoch((epoch % 2) as u32, &rows);
        }
        bench.epoch(0, &[deleted("a", 0)]);
        bench.scan(&[])
    };
    let bench = Bench::new(directory.path(), 2);
    bench.view.wait_until_ready(PATIENCE).unwrap();
    assert_eq!(bench.scan(&[]), before);
    bench.log.maintain().unwrap();
    drop(bench);
    let bench = Bench::new(directory.path(), 2);
    bench.view.wait_until_ready(PATIENCE).unwrap();
    assert_eq!(bench.scan(&[]), before);
}

#[test]
fn a_view_that_needs_too_much_memory_is_given_up_and_can_be_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes: 10_000,
        ..Limits::default()
    };
    let bench = Bench::with(directory.path(), 1, limits);
    let rows: Vec<_> = (0..1000).map(|account| row("a", account, 1)).collect();
    let end = write(&*bench.log, 0, &rows);
    assert!(!bench.view.wait_for(0, end, PATIENCE));
    let error = bench.view.scan(&Filter::default(), 1).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { limit: 10_000, .. }), "{error}");
    assert_eq!(bench.views.memory(), (0, 10_000));
    bench.log.delete_before(&TopicPartition::new(VIEW, 0), end).unwrap();
    write(&*bench.log, 0, &rows[..1]);
    bench.views.follow(vec![relation(1)]).unwrap();
    let again = bench.views.get(VIEW).unwrap();
    again.wait_until_ready(PATIENCE).unwrap();
    assert_eq!(again.scan(&Filter::default(), 10).unwrap().rows.len(), 1);
    let (used, _) = bench.views.memory();
    assert!(used > 0 && used == again.statistics().bytes, "{used}");
    drop(bench.view);
    drop(again);
    bench.views.follow(vec![]).unwrap();
    assert_eq!(bench.views.memory().0, 0, "what is dropped costs nothing");
}

async fn next(subscription: &mut Subscription) -> crate::Result<Event> {
    tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .expect("something comes")
}

/// What a subscriber knows: rows by key.
#[derive(Default, Debug, PartialEq)]
struct Known(BTreeMap<String, Value>);

impl Known {
    fn take(&mut self, event: &Event) -> Position {
        match event {
            Event::Snapshot { rows, position } => {
                self.0 = rows
                    .iter()
                    .map(|row| (row.key().to_owned(), serde_json::from_str(row.value()).unwrap()))
                    .collect();
                *position
            }
            Event::Changes {
                updated,
                deleted,
                position,
            } => {
                for row in deleted {
                    assert!(self.0.remove(row.key()).is_some(), "{row:?} is deleted twice");
                }
                for row in updated {
                    let value: Value = serde_json::from_str(row.value()).unwrap();
                    let before = self.0.insert(row.key().to_owned(), value.clone());
                    assert_ne!(before, Some(value), "it has not changed");
                }
                *position
            }
        }
    }

    fn total(&self) -> i64 {
        self.0.values().filter_map(|row| row["amount"].as_i64()).sum()
    }
}

#[tokio::test]
async fn a_subscriber_hears_only_of_rows_that_fit_and_of_those_that_no_longer_do() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 1);
    bench.epoch(0, &[row("a", 1, 5), row("a", 2, 6), row("b", 1, 5)]);
    let mut fives = bench
        .view
        .subscribe(bench.view.filter([("amount", "5")]).unwrap(), None)
        .unwrap();
    let mut bank = bench
        .view
        .subscribe(bench.view.filter([("bank", "b")]).unwrap(), None)
        .unwrap();
    assert!(matches!(next(&mut fives).await.unwrap(), Event::Snapshot { rows, .. } if rows.len() == 2));
    assert!(matches!(next(&mut bank).await.unwrap(), Event::Snapshot { rows, .. } if rows.len() == 1));
    bench.epoch(0, &[row("a", 2, 7), row("a", 3, 7)]);
    bench.epoch(0, &[row("a", 1, 6), row("a", 2, 5), deleted("b", 1)]);
    match next(&mut fives).await.unwrap() {
        Event::Changes { updated, deleted, .. } => {
            assert_eq!(values(&updated), some(&[row("a", 2, 5)]));
            assert_eq!(values(&deleted), some(&[row("a", 1, 5), row("b", 1, 5)]));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(next(&mut bank).await.unwrap(), Event::Changes { updated, deleted, .. }
        if updated.is_empty() && values(&deleted) == some(&[row("b", 1, 5)]))
    );
    drop((fives, bank));
    assert_eq!(bench.view.statistics().subscribers, 0);
}

#[tokio::test]
async fn who_comes_back_goes_on_where_he_was_or_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        history_bytes: 1000,
        ..Limits::default()
    };
    let bench = Bench::with(directory.path(), 1, limits);
    bench.epoch(0, &[row("a", 1, 1)]);
    let mut known = Known::default();
    let mut first = bench.view.subscribe(Filter::default(), None).unwrap();
    let position = known.take(&next(&mut first).await.unwrap());
    let position: Position = position.to_string().parse().unwrap();
    drop(first);
    bench.epoch(0, &[row("a", 1, 2)]);
    bench.epoch(0, &[row("a", 1, 3)]);
    let mut second = bench.view.subscribe(Filter::default(), Some(position)).unwrap();
    for amount in [2, 3] {
        let event = next(&mut second).await.unwrap();
        assert!(
            matches!(&event, Event::Changes { updated, .. } if values(updated) == some(&[row("a", 1, amount)])),
            "{event:?}"
        );
    }
    // Too long ago, and of another life.
    for amount in 4..20 {
        bench.epoch(0, &[row("a", 1, amount)]);
    }
    let other = Position {
        life: position.life + 1,
        ..position
    };
    for position in [position, other] {
        let mut third = bench.view.subscribe(Filter::default(), Some(position)).unwrap();
        assert!(
            matches!(next(&mut third).await.unwrap(), Event::Snapshot { rows, .. } if values(&rows) == some(&[row("a", 1, 19)]))
        );
    }
}

#[tokio::test]
async fn a_slow_subscriber_begins_anew_and_a_dropped_view_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        queue_bytes: 2000,
        snapshot_rows: 100,
        ..Limits::default()
    };
    let bench = Bench::with(directory.path(), 1, limits);
    let mut slow = bench.view.subscribe(Filter::default(), None).unwrap();
    let mut known = Known::default();
    known.take(&next(&mut slow).await.unwrap());
    for account in 0..100 {
        bench.epoch(0, &[row("a", account, 1)]);
    }
    let event = next(&mut slow).await.unwrap();
    assert!(matches!(event, Event::Snapshot { .. }), "{event:?}");
    known.take(&event);
    assert_eq!(known.total(), 100);
    bench.epoch(0, &[row("a", 100, 1)]);
    known.take(&next(&mut slow).await.unwrap());
    assert_eq!(known.total(), 101);
    let error = bench.view.subscribe(Filter::default(), None).err().unwrap();
    assert!(
        matches!(
            error,
            StoreError::TooManyRows {
                rows: 101,
                limit: 100,
                ..
            }
        ),
        "{error}"
    );
    bench.views.follow(vec![]).unwrap();
    assert!(matches!(next(&mut slow).await, Err(StoreError::Dropped(_))));
    assert!(matches!(
        bench.view.scan(&Filter::default(), 1),
        Err(StoreError::Dropped(_))
    ));
}

/// Accounts per partition, and what they have together. Epochs only move it.
const ACCOUNTS: i64 = 6;
const TOTAL: i64 = 600;

/// The rows of an epoch that moves money.
fn transfer(amounts: &mut [i64], moves: &[(usize, usize, i64)], bank: &str) -> Vec<(Value, Option<Value>)> {
    let mut changed: Vec<usize> = Vec::new();
    for &(from, to, amount) in moves {
        amounts[from] -= amount;
        amounts[to] += amount;
        changed.extend([from, to]);
    }
    changed.sort_unstable();
    changed.dedup();
    let row = |account: usize| match amounts[account] {
        0 => deleted(bank, account as i64),
        amount => row(bank, account as i64, amount),
    };
    changed.into_iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A writer moves money between accounts, compaction runs, a reader asks, subscribers of all speeds listen, and the views
    /// are begun anew: the money is always all there.
    #[test]
    fn nobody_ever_sees_half_an_epoch(
        epochs in proptest::collection::vec(
            proptest::collection::vec((0..ACCOUNTS as usize, 0..ACCOUNTS as usize, 0..60_i64), 1..4), 50..200),
        maintain_every in 5..40_usize,
        queue_bytes in 200..20_000_usize,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { queue_bytes, history_bytes: queue_bytes, ..Limits::default() };
        let bench = Bench::with(directory.path(), 1, limits);
        let mut amounts = vec![TOTAL / ACCOUNTS; ACCOUNTS as usize];
        let opening: Vec<_> = (0..ACCOUNTS).map(|account| row("a", account, TOTAL / ACCOUNTS)).collect();
        bench.epoch(0, &opening);
        let (done, last) = (AtomicBool::new(false), OnceLock::<Known>::new());
        let end = std::thread::scope(|scope| {
            let (bench, done, last) = (&bench, &done, &last);
            let sum = |view: &View| {
                let rows = view.scan(&Filter::default(), 100).map(|found| values(&found.rows));
                rows.map(|rows| rows.iter().filter_map(|row| row["amount"].as_i64()).sum::<i64>())
            };
            let asking = scope.spawn(move || {
                let mut asked = 0_u64;
                while !done.load(Ordering::Relaxed) || asked == 0 {
                    assert_eq!(sum(&bench.view).unwrap(), TOTAL);
                    asked += 1;
                }
            });
            let restarting = scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let views = Views::new(bench.log.clone(), Limits::default());
                    views.follow(vec![relation(1)]).unwrap();
                    let view = views.get(VIEW).unwrap();
                    view.wait_until_ready(PATIENCE).unwrap();
                    assert_eq!(sum(&view).unwrap(), TOTAL);
                }
            });
            let listening: Vec<_> = [0, 3].map(|pause| scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    let mut known = Known::default();
                    let mut subscription = bench.view.subscribe(Filter::default(), None).unwrap();
                    let since = Instant::now();
                    loop {
                        match tokio::time::timeout(Duration::from_millis(50), subscription.next()).await {
                            Ok(event) => drop(known.take(&event.unwrap())),
                            Err(_) if since.elapsed() > 4 * PATIENCE => panic!("{known:?} instead of {last:?}"),
                            Err(_) => {}
                        }
                        assert_eq!(known.total(), TOTAL);
                        if last.get() == Some(&known) {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(pause));
                    }
                })
            })).into();
            let mut end = 0;
            for (number, moves) in epochs.iter().enumerate() {
                end = write(&*bench.log, 0, &transfer(&mut amounts, moves, "a"));
                if number % maintain_every == 0 {
                    bench.log.maintain().unwrap();
                }
            }
            assert!(bench.view.wait_for(0, end, PATIENCE));
            done.store(true, Ordering::Relaxed);
            asking.join().unwrap();
            restarting.join().unwrap();
            let rows = bench.view.scan(&Filter::default(), 100).unwrap().rows;
            let mut known = Known::default();
            known.take(&Event::Snapshot { rows, position: Position { life: 0, sequence: 0 } });
            last.set(known).unwrap();
            for listener in listening {
                listener.join().unwrap();
            }
            end
        });
        let expected: Vec<Value> = (0..).zip(&amounts)
            .filter(|(_, amount)| **amount != 0)
            .filter_map(|(account, amount)| row("a", account, *amount).1)
            .collect();
        prop_assert_eq!(bench.scan(&[]), expected);
        prop_assert_eq!(bench.view.statistics().offsets, vec![end]);
    }
}

#[test]
fn records_of_another_format_are_shown_by_the_keys_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(SqliteLog::open(directory.path()).unwrap());
    log.create_topic(&TopicSpec::new(VIEW, 1)).unwrap();
    let csv = Relation {
        format: Format::Csv { delimiter: b',' },
        ..relation(1)
    };
    let views = Views::new(log.clone(), Limits::default());
    views.follow(vec![csv]).unwrap();
    let bench = Bench {
        view: views.get(VIEW).unwrap(),
        log,
        views,
    };
    let epoch = |records: &[(Option<&str>, &str)]| {
        let mut batch = BatchBuilder::new();
        for (key, value) in records {
            batch.push(key.map(str::as_bytes), value.as_bytes(), 1, &[]).unwrap();
        }
        let end = write_batch(&*bench.log, 0, batch);
        assert!(bench.view.wait_for(0, end, PATIENCE), "{:?}", bench.view.statistics());
    };
    let two = r#"{"bank":"b","account":2}"#;
    epoch(&[
        (None, "a,1,5"),
        (Some("other"), "b,2,6"),
        (None, "c,three,7"),
        (None, "d,4,8"),
    ]);
    assert_eq!(bench.scan(&[]), some(&[row("a", 1, 5), row("b", 2, 6), row("d", 4, 8)]));
    epoch(&[(None, "a,1,9"), (Some(two), ""), (None, "e,5,")]);
    let mut last = row("e", 5, 0);
    last.1.as_mut().unwrap()["amount"] = Value::Null;
    assert_eq!(bench.scan(&[]), some(&[row("a", 1, 9), row("d", 4, 8), last]));
    assert_eq!(bench.view.statistics().malformed, 1);
    let found = bench.view.scan(&Filter::default(), 10).unwrap().rows;
    assert_eq!(bench.view.batches(&found).unwrap()[0].num_rows(), 3);
}
