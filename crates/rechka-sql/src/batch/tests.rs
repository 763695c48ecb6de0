use std::collections::HashMap;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    compute::cast,
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{datasource::MemTable, prelude::SessionContext};
use proptest::prelude::*;

use super::*;
use crate::{
    Catalog, Query, Statement,
    catalog::Named,
    logical::{logical_plan, optimise},
};

/// Runs the statements, then the last one, which is a query, over the rows given for its relations.
/// A row of an input is its values as text, separated by spaces; `-` is NULL; times are in the unit of their column.
fn run(text: &str, inputs: &[(&str, &[&str])]) -> Vec<String> {
    let mut catalog = Catalog::default();
    for statement in Statement::parse(text).unwrap() {
        match statement {
            Statement::Declare(declare) => drop(catalog.declare_relation(declare.relation).unwrap()),
            Statement::View { name, query } => {
                let plan = logical_plan(&catalog, &query).unwrap();
                catalog.declare(&name, Named::Query(Arc::new(plan))).unwrap();
            }
            Statement::Query(query) => return rows(&catalog, &query, inputs),
            other => panic!("{other:?}"),
        }
    }
    panic!("no query in {text}")
}

fn rows(catalog: &Catalog, query: &Query, inputs: &[(&str, &[&str])]) -> Vec<String> {
    let inputs: HashMap<&str, &[&str]> = inputs.iter().copied().collect();
    let plan = expand_windows(optimise(logical_plan(catalog, query).unwrap()).unwrap()).unwrap();
    let plan = read_from(plan, |scanned| {
        let Scanned::Relation(relation) = scanned else {
            panic!("there is no audio here")
        };
        let batch = table(relation, inputs[&*relation.name]);
        Ok(Arc::new(MemTable::try_new(
            Arc::clone(&relation.schema),
            vec![vec![batch]],
        )?))
    });
    let plan = plan.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        SessionContext::new()
            .execute_logical_plan(plan)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap()
    });
    let mut rows: Vec<String> = batches.iter().flat_map(lines).collect();
    rows.sort();
    rows
}

fn table(relation: &Relation, rows: &[&str]) -> RecordBatch {
    let columns = relation.schema.fields().iter().enumerate().map(|(index, field)| {
        let values = rows
            .iter()
            .map(|row| row.split(' ').nth(index).filter(|value| *value != "-"));
        let text: ArrayRef = Arc::new(StringArray::from_iter(values));
        match field.data_type().is_temporal() {
            true => cast(&cast(&text, &DataType::Int64).unwrap(), field.data_type()).unwrap(),
            false => cast(&text, field.data_type()).unwrap(),
        }
    });
    RecordBatch::try_new(Arc::clone(&relation.schema), columns.collect()).unwrap()
}

/// Rows as text; times as whole numbers in the unit of their column.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type().is_temporal() {
            true => cast(column, &DataType::Int64).unwrap(),
            false => Arc::clone(column),
        })
        .collect();
    let columns: Vec<_> = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let line = |row| {
        columns
            .iter()
            .map(|column| column.value(row).to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    (0..batch.num_rows()).map(line).collect()
}

const CLICKS: &str = "CREATE STREAM clicks (k TEXT, ts TIMESTAMP(0));";

#[test]
fn tumbling_windows_begin_at_their_start_also_before_1970() {
    let found = run(
        &format!("{CLICKS} SELECT k, window_start, window_end, window_time FROM TUMBLE(clicks, ts, INTERVAL '10 s')"),
        &[("clicks", &["a 0", "b 9", "c 10", "d -1", "e -10", "f -11", "g -"])],
    );
    let expected = [
        "a 0 10 9",
        "b 0 10 9",
        "c 10 20 19",
        "d -10 0 -1",
        "e -10 0 -1",
        "f -20 -10 -11",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_offset_shifts_the_windows() {
    let found = run(
        &format!(
            "{CLICKS} SELECT k, window_start, window_end FROM TUMBLE(clicks, ts, INTERVAL '10 s', INTERVAL '3 s')"
        ),
        &[("clicks", &["a 1", "b 3", "c 13"])],
    );
    assert_eq!(found, ["a -7 3", "b 3 13", "c 13 23"]);
}

#[test]
fn hopping_windows_overlap() {
    let found = run(
        &format!("{CLICKS} SELECT k, window_start, window_end FROM HOP(clicks, ts, INTERVAL '2 s', INTERVAL '6 s')"),
        &[("clicks", &["a 0", "b 5", "c -1", "d -"])],
    );
    let expected = [
        "a -2 4", "a -4 2", "a 0 6", "b 0 6", "b 2 8", "b 4 10", "c -2 4", "c -4 2", "c -6 0",
    ];
    assert_eq!(found, expected);
}

#[test]
fn cumulating_windows_grow_to_their_size() {
    let found = run(
        &format!(
            "{CLICKS} SELECT k, window_start, window_end FROM CUMULATE(clicks, ts, INTERVAL '10 s', INTERVAL '30 s')"
        ),
        &[("clicks", &["a 0", "b 25", "c 10", "d -1", "e -"])],
    );
    let expected = ["a 0 10", "a 0 20", "a 0 30", "b 0 30", "c 0 20", "c 0 30", "d -30 0"];
    assert_eq!(found, expected);
}

#[test]
fn sessions_end_after_the_gap_for_each_key_of_the_group() {
    let text = format!(
        "{CLICKS} SELECT k, count(*), window_start, window_end FROM SESSION(clicks, ts, INTERVAL '10 s') \
         GROUP BY k, window_start, window_end"
    );
    let inputs: &[(&str, &[&str])] = &[(
        "clicks",
        &["a 9", "a 0", "a 19", "a 40", "b 5", "b -", "- 1", "- 2", "b -4", "a 0"],
    )];
    assert_eq!(
        run(&text, inputs),
        ["- 2 1 12", "a 1 19 29", "a 1 40 50", "a 3 0 19", "b 2 -4 15"]
    );
    let all = text.replace("GROUP BY k,", "GROUP BY").replace("SELECT k,", "SELECT");
    assert_eq!(run(&all, inputs), ["1 19 29", "1 40 50", "7 -4 19"]);
}

#[test]
fn a_filter_over_a_session_drops_rows_before_the_session_is_made() {
    let found = run(
        "CREATE STREAM clicks (k TEXT, x INT, ts TIMESTAMP(0));
         SELECT upper(who), sum(x), window_end FROM (SELECT k AS who, x, window_start, window_end \
         FROM SESSION(clicks, ts, INTERVAL '10 s')) AS s WHERE x > 1 GROUP BY upper(who), window_start, window_end \
         HAVING window_end > TIMESTAMP '1970-01-01 00:00:00'",
        &[("clicks", &["a 5 0", "A 1 8", "a 7 12", "A 2 21", "a 3 -100"])],
    );
    assert_eq!(found, ["A 5 10", "A 9 31"]);
}

#[test]
fn a_session_without_group_is_refused() {
    let mut catalog = Catalog::default();
    let Some(Statement::Declare(declare)) = Statement::parse(CLICKS).unwrap().pop() else {
        panic!()
    };
    catalog.declare_relation(declare.relation).unwrap();
    for sql in [
        "SELECT k, count(*) FROM SESSION(clicks, ts, INTERVAL '10 s') GROUP BY k",
        "SELECT k, window_start, count(*) FROM SESSION(clicks, ts, INTERVAL '10 s') GROUP BY GROUPING SETS ((k, window_start), (window_start))",
    ] {
        let plan = optimise(logical_plan(&catalog, &Query::parse(sql).unwrap()).unwrap()).unwrap();
        assert!(expand_windows(plan).is_err(), "{sql}");
    }
}

#[test]
fn windows_keep_the_unit_and_the_zone_of_their_time() {
    for (kind, second) in [
        ("TIMESTAMP(0)", 1),
        ("TIMESTAMP(3)", 1_000),
        ("TIMESTAMP(6)", 1_000_000i64),
        ("TIMESTAMP(9)", 1_000_000_000),
        ("TIMESTAMP(6) WITH TIME ZONE", 1_000_000),
    ] {
        let text = format!(
            "CREATE STREAM t (ts {kind}); SELECT arrow_typeof(ts) = arrow_typeof(window_time), window_start, window_end FROM "
        );
        let rows = [format!("{}", 7 * second), format!("{}", -3 * second)];
        let inputs: &[(&str, &[&str])] = &[("t", &[&rows[0], &rows[1]])];
        let line = |start: i64, end: i64| format!("true {} {}", start * second, end * second);
        let found = run(&format!("{text} TUMBLE(t, ts, INTERVAL '5 s')"), inputs);
        assert_eq!(found, [line(-5, 0), line(5, 10)], "{kind}");
        let session =
            format!("{text} SESSION(t, ts, INTERVAL '5 s') GROUP BY ts, window_time, window_start, window_end");
        assert_eq!(run(&session, inputs), [line(-3, 2), line(7, 12)], "{kind}");
    }
}

#[test]
fn windows_nest() {
    let found = run(
        &format!(
            "{CLICKS} SELECT window_start, window_end, sum(n) FROM TUMBLE((SELECT window_time AS at, count(*) AS n \
             FROM TUMBLE(clicks, ts, INTERVAL '5 s') GROUP BY window_start, window_end, window_time), at, INTERVAL '10 s') \
             GROUP BY window_start, window_end"
        ),
        &[("clicks", &["a 0", "b 4", "c 5", "d 12"])],
    );
    assert_eq!(found, ["0 10 3", "10 20 1"]);
}

#[test]
fn names_are_found_whatever_their_case() {
    let found = run(
        "CREATE STREAM Bids (\"userId\" BIGINT, dateTime TIMESTAMP(0)); \
         SELECT USERID, Count(*) AS Num, Window_Start FROM tumble(BIDS, DATETIME, interval '10 s') B \
         GROUP BY b.userid, WINDOW_START, window_end ORDER BY num",
        &[("Bids", &["1 0", "1 1"])],
    );
    assert_eq!(found, ["1 2 0"]);
}

const NEXMARK: &str = include_str!("../../../../bench/nexmark/streams.sql");

/// The query of this number.
macro_rules! query {
    ($number:literal) => {
        include_str!(concat!("../../../../bench/nexmark/q", $number, ".sql"))
    };
}

fn nexmark(query: &str, inputs: &[(&str, &[&str])]) -> Vec<String> {
    let all = ["person", "auction", "bid"].map(|name| {
        let rows = inputs
            .iter()
            .find(|(input, _)| *input == name)
            .map_or(&[] as &[&str], |(_, rows)| *rows);
        (name, rows)
    });
    run(&format!("{NEXMARK} {query}"), &all)
}

#[test]
fn nexmark_queries_without_windows() {
    let bids: &[(&str, &[&str])] = &[("bid", &["123 1 100 c u 1000 x", "7 2 50 c u 2000 y"])];
    assert_eq!(nexmark(query!(0), bids), ["123 1 100 1000 x", "7 2 50 2000 y"]);
    let q1 = nexmark(query!(1), bids);
    assert_eq!(q1, ["123 1 90.8 1000 x", "7 2 45.4 2000 y"]);
    assert_eq!(nexmark(query!(2), bids), ["123 100"]);
    let q3 = nexmark(
        query!(3),
        &[
            ("person", &["1 ann e c portland OR 0 x", "2 bob e c albany NY 0 x"]),
            (
                "auction",
                &[
                    "50 i d 1 1 0 1 1 10 x",
                    "51 i d 1 1 0 1 2 10 x",
                    "52 i d 1 1 0 1 1 11 x",
                ],
            ),
        ],
    );
    assert_eq!(q3, ["ann portland OR 50"]);
    let q4 = nexmark(
        query!(4),
        &[
            ("auction", &["50 i d 1 1 0 100 1 10 x", "51 i d 1 1 0 100 1 10 x"]),
            (
                "bid",
                &[
                    "50 1 7 c u 50 x",
                    "50 1 9 c u 100 x",
                    "50 1 20 c u 101 x",
                    "51 1 3 c u 0 x",
                ],
            ),
        ],
    );
    assert_eq!(q4, ["10 6.0"]);
}

#[test]
fn nexmark_q5_the_hottest_auctions() {
    let found = nexmark(
        query!(5),
        &[(
            "bid",
            &[
                "1 1 5 c u 1000 x",
                "1 2 5 c u 3000 x",
                "2 1 5 c u 3000 x",
                "2 3 5 c u 11000 x",
            ],
        )],
    );
    // Starts -8: 1 has one bid. -6 to 0: 1 has two. 2: 2 has two. 4 to 10: 2 has one.
    assert_eq!(
        found,
        ["1 1", "1 2", "1 2", "1 2", "1 2", "2 1", "2 1", "2 1", "2 1", "2 2"]
    );
}

#[test]
fn nexmark_q7_the_highest_bids() {
    let found = nexmark(
        query!(7),
        &[(
            "bid",
            &[
                "1 1 5 c u 1000 x",
                "2 1 7 c u 2000 x",
                "3 2 7 c u 9000 x",
                "4 2 3 c u 12000 x",
            ],
        )],
    );
    assert_eq!(found, ["2 7 1 2000 x", "3 7 2 9000 x", "4 3 2 12000 x"]);
}

#[test]
fn nexmark_q8_new_users_who_sell() {
    let found = nexmark(
        query!(8),
        &[
            (
                "person",
                &[
                    "1 ann e c p OR 1000 x",
                    "2 bob e c a NY 2000 x",
                    "3 eve e c a NY 11000 x",
                ],
            ),
            (
                "auction",
                &[
                    "5 i d 1 1 9999 1 1 10 x",
                    "6 i d 1 1 9000 1 1 10 x",
                    "7 i d 1 1 10000 1 2 10 x",
                    "8 i d 1 1 19999 1 3 1 x",
                ],
            ),
        ],
    );
    assert_eq!(found, ["1 ann 0", "3 eve 10000"]);
}

#[test]
fn nexmark_q11_sessions_of_bidders() {
    let found = nexmark(
        query!(11),
        &[(
            "bid",
            &[
                "1 1 5 c u 0 x",
                "2 1 5 c u 5000 x",
                "1 1 5 c u 15000 x",
                "1 2 5 c u 8000 x",
                "1 1 5 c u 40000 x",
            ],
        )],
    );
    assert_eq!(
        found,
        ["1 1 15000 25000", "1 1 40000 50000", "1 2 0 15000", "2 1 8000 18000"]
    );
}

#[test]
fn nexmark_q12_counts_by_the_time_of_the_run() {
    let found = nexmark(
        &format!("SELECT bidder, bid_count, endtime > starttime FROM ({})", query!(12)),
        &[("bid", &["1 1 5 c u 0 x", "2 1 5 c u 5000 x", "1 2 5 c u 8000 x"])],
    );
    assert_eq!(found, ["1 2 true", "2 1 true"]);
}

#[test]
fn windows_in_group_by_are_those_of_spark() {
    let declared = "CREATE STREAM clicks (k TEXT, ts TIMESTAMP(0));";
    let rows: &[(&str, &[&str])] = &[("clicks", &["a 0", "a 9", "b 12"])];
    let query = |sql: &str| run(&format!("{declared} {sql}"), rows);
    assert_eq!(
        query("SELECT window.start, window.end, k, count(*) FROM clicks GROUP BY k, window(ts, '10 seconds')"),
        ["0 10 a 2", "10 20 b 1"]
    );
    assert_eq!(
        query(
            "SELECT c.k, count(*) AS n, window.start AS s FROM clicks AS c GROUP BY window(c.ts, '10 seconds', '5 seconds'), c.k"
        ),
        ["a 1 -5", "a 1 5", "a 2 0", "b 1 10", "b 1 5"]
    );
    assert_eq!(
        query(
            "SELECT session_window.start AS s, session_window.end AS e, count(*) FROM clicks GROUP BY session_window(ts, '10 seconds')"
        ),
        ["0 22 3"]
    );
    assert_eq!(
        query("SELECT window, count(*) FROM clicks GROUP BY window(ts, '1 minute')"),
        ["{start: 1970-01-01T00:00:00, end: 1970-01-01T00:01:00} 3"]
    );
    assert_eq!(
        query(
            "SELECT TUMBLE_START(ts, INTERVAL '10' SECOND), TUMBLE_ROWTIME(ts, INTERVAL '10' SECOND), count(*) FROM clicks \
               GROUP BY TUMBLE(ts, INTERVAL '10' SECOND) HAVING TUMBLE_END(ts, INTERVAL '10' SECOND) > to_timestamp(10)"
        ),
        ["10 19 1"]
    );
}

fn naive(window: Window, time: i64) -> Vec<(i64, i64)> {
    let floor = |time: i64, length: i64, offset: i64| (time - offset).div_euclid(length) * length + offset;
    let mut windows = Vec::new();
    match window {
        Window::Hop { size, slide, offset } => {
            let mut start = floor(time, slide, offset);
            while start + size > time {
                windows.push((start, start + size));
                start -= slide;
            }
        }
        Window::Cumulate { size, step, offset } => {
            let start = floor(time, size, offset);
            windows.extend(
                (1..=size / step)
                    .map(|n| (start, start + n * step))
                    .filter(|(_, end)| time < *end),
            );
        }
        Window::Session { .. } => unreachable!("not here"),
    }
    windows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn windows_are_those_of_the_naive_model(
        times in proptest::collection::vec(-100i64..100, 1..20),
        (slide, count, offset, cumulate) in (1i64..20, 1i64..6, -30i64..30, any::<bool>()),
    ) {
        let size = slide * count;
        let (call, window) = match cumulate {
            true => ("CUMULATE", Window::Cumulate { size, step: slide, offset }),
            false => ("HOP", Window::Hop { size, slide, offset }),
        };
        let sql = format!(
            "CREATE STREAM t (k BIGINT, ts TIMESTAMP(0)); SELECT k, window_start, window_end FROM \
             {call}(t, ts, INTERVAL '{slide} s', INTERVAL '{size} s', INTERVAL '{offset} s')"
        );
        let input: Vec<String> = times.iter().enumerate().map(|(index, time)| format!("{index} {time}")).collect();
        let input: Vec<&str> = input.iter().map(String::as_str).collect();
        let found = run(&sql, &[("t", &input)]);
        let mut expected: Vec<String> = times
            .iter()
            .enumerate()
            .flat_map(|(index, time)| {
                naive(window, *time).into_iter().map(move |(start, end)| format!("{index} {start} {end}"))
            })
            .collect();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_longest_chains_run() {
    for (first, link) in [
        ("x", " + x"),
        ("x", "::bigint"),
        ("x = 1", " AND x > 0"),
        ("x", " IS NULL"),
        ("x", " + CASE WHEN x > 0 THEN x END"),
    ] {
        let text = |times: usize| {
            format!(
                "CREATE STREAM t (x BIGINT); SELECT count({first}{}) FROM t",
                link.repeat(times)
            )
        };
        let longest = (1..400).rev().find(|times| Statement::parse(&text(*times)).is_ok());
        assert_eq!(run(&text(longest.unwrap()), &[("t", &["1"])]), ["1"], "{link}");
    }
}

#[test]
fn a_table_as_it_was_is_not_asked_of_what_is_stored() {
    let text = "CREATE STREAM buys (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts);
        CREATE TABLE prices (id BIGINT PRIMARY KEY, price DOUBLE, since TIMESTAMP, WATERMARK FOR since AS since);";
    let mut pipeline = crate::Pipeline::new(crate::Mode::Batch, "");
    for statement in Statement::parse(text).unwrap() {
        pipeline.execute(statement).unwrap();
    }
    for join in ["prices FOR SYSTEM_TIME AS OF b.ts AS p", "AS_OF(prices, b.ts) AS p"] {
        let query = crate::Query::parse(&format!("SELECT p.price FROM buys AS b JOIN {join} ON b.id = p.id")).unwrap();
        let plan = crate::logical::logical_plan(&pipeline.catalog, &query).unwrap();
        let error = expand_windows(crate::logical::optimise(plan).unwrap()).unwrap_err();
        assert!(error.to_string().contains("leave AS OF away"), "{error}");
    }
}
