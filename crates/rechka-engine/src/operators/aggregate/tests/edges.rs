//! Types, units, clocks, and what is refused.
use std::sync::Arc;

use arrow::{
    array::{
        Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, ListArray, StringViewArray,
        StructArray, TimestampMicrosecondArray, UInt32Array,
    },
    compute::take,
    datatypes::{Int32Type, TimeUnit},
};
use datafusion::{logical_expr, physical_expr::expressions::binary};
use rechka_sql::plan::{Emit, Groups, Window};

use super::{
    windows::{hop, query, sorted, stamp},
    *,
};

fn counting(window: Window) -> Query {
    Query {
        columns: vec![count()],
        ..query(window)
    }
}

fn end_at(seconds: i64) -> Time {
    Time {
        watermark: windows::micros(seconds),
        now: 0,
    }
}

#[test]
fn windows_have_the_type_of_the_time_column() {
    for unit in [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ] {
        let query = Query {
            unit,
            ..counting(hop(10, 5))
        };
        let mut running = Running::new(query.single());
        let out = running.epoch(&[rows(unit, &[row(-3, "a", 1), row(7, "a", 1)])], end_at(5));
        assert_eq!(out.rows[0].schema(), query.output());
        let found = [
            text(&out.rows),
            text(&running.epoch(&[rows(unit, &[row(2, "b", 1)])], end_at(99)).rows),
        ]
        .concat();
        let expected = [
            ("a", -10, "1"),
            ("a", -5, "1"),
            ("a", 0, "1"),
            ("b", 0, "1"),
            ("a", 5, "1"),
        ];
        let expected =
            expected.map(|(key, start, count)| vec![key.into(), stamp(start), stamp(start + 10), count.into()]);
        assert_eq!(sorted(found), sorted(expected.to_vec()), "{unit:?}");
        let late = running.epoch(&[rows(unit, &[row(2, "c", 1)])], end_at(99)).late;
        let bounds: Vec<_> = text(&late).into_iter().map(|row| row[4..].to_vec()).collect();
        assert_eq!(bounds, [[stamp(-5), stamp(5)], [stamp(0), stamp(10)]], "{unit:?}");
        assert_eq!(late[0].column(4).data_type(), &DataType::Timestamp(unit, None));
    }
}

#[test]
fn times_at_the_ends_of_time_are_counted() {
    for window in [
        hop(10, 5),
        Window::Session { gap: 10 },
        Window::Cumulate {
            size: 10,
            step: 5,
            offset: 3,
        },
    ] {
        let query = counting(window);
        let mut running = Running::new(query.single());
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, -1, 0, i64::MAX]));
        let mut columns = rows(TimeUnit::Microsecond, &vec![row(0, "a", 1); 4]).columns().to_vec();
        columns[0] = times;
        let batch = RecordBatch::try_new(input(TimeUnit::Microsecond), columns).unwrap();
        let out = running.epoch(
            &[batch],
            Time {
                watermark: i64::MAX,
                now: 0,
            },
        );
        assert!(
            out.rows.iter().map(RecordBatch::num_rows).sum::<usize>() >= 3,
            "{window:?}"
        );
    }
}

#[test]
fn windows_that_can_not_be_are_refused() {
    let second = SECOND;
    for window in [
        Window::Hop {
            size: 0,
            slide: 0,
            offset: 0,
        },
        Window::Hop {
            size: 10,
            slide: 3,
            offset: 0,
        },
        Window::Hop {
            size: 5,
            slide: 10,
            offset: 0,
        },
        Window::Hop {
            size: second * 1_000_000,
            slide: 1,
            offset: 0,
        },
        Window::Hop {
            size: i64::MAX,
            slide: i64::MAX,
            offset: 0,
        },
        Window::Cumulate {
            size: 10,
            step: -5,
            offset: 0,
        },
        Window::Session { gap: 0 },
        Window::Session { gap: i64::MAX },
    ] {
        let query = counting(window);
        let built = super::super::build(&query.aggregate(Phase::Single), &input(query.unit), &query.output());
        assert!(built.is_err(), "{window:?}");
    }
    let for_ever = Query {
        groups: Groups::Keys,
        ..counting(hop(1, 1))
    };
    let built = super::super::build(
        &for_ever.aggregate(Phase::Single),
        &input(for_ever.unit),
        &for_ever.output(),
    );
    assert!(built.is_err_and(|error| error.to_string().contains("mode 'update'")));
}

#[test]
fn rows_that_carry_their_window_are_grouped_until_the_watermark_reaches_its_end() {
    for emit in [Emit::Append, Emit::Update] {
        let groups = Groups::Carried { end: 1 };
        let query = Query {
            groups,
            keys: vec!["key", "ts"],
            emit,
            ..counting(hop(1, 1))
        };
        let mut first = Running::new(query.partial());
        let mut last = Running::new(query.last());
        let mut epoch = |batch: &[Row], watermark: i64| {
            let exchanged = first.epoch(&[rows(TimeUnit::Microsecond, batch)], end_at(watermark));
            let out = last.epoch(&exchanged.rows, end_at(watermark));
            last.between(Between::Restart, query.last());
            assert!(out.late.is_empty());
            (sorted(text(&out.rows)), text(&exchanged.late))
        };
        let of = |key: &str, end: i64, count: &str| vec![key.to_owned(), stamp(end), count.into()];
        let (found, late) = epoch(&[row(10, "a", 1), row(20, "a", 1), row(10, "a", 1)], 10);
        let closed = vec![of("a", 10, "2")];
        let changed = vec![of("a", 10, "2"), of("a", 20, "1")];
        assert_eq!(
            (found, late.len()),
            (if emit == Emit::Append { closed } else { changed }, 0)
        );
        let (found, late) = epoch(&[row(10, "a", 1), row(20, "b", 1), row(20, "a", 1)], 30);
        assert_eq!(found, [of("a", 20, "2"), of("b", 20, "1")]);
        // The row says itself which window it missed.
        assert_eq!(late.len(), 1);
        assert_eq!((&*late[0][0], late[0].len()), (&*stamp(10), 4));
        let (found, _) = epoch(&[], 40);
        assert!(found.is_empty());
    }
}

#[test]
fn windows_by_the_clock_close_by_the_clock() {
    let groups = Groups::Windows {
        time: None,
        window: hop(10, 10),
    };
    let query = Query {
        groups,
        ..counting(hop(1, 1))
    };
    let at = |now: i64| Time {
        watermark: i64::MIN,
        now: now * SECOND,
    };
    let batch = rows(TimeUnit::Microsecond, &[row(0, "a", 1)]);
    let batch = std::slice::from_ref(&batch);
    let of = |start: i64, count: &str| vec![vec!["a".to_owned(), stamp(start), stamp(start + 10), count.into()]];
    let mut running = Running::new(query.single());
    assert!(running.epoch(batch, at(101)).rows.is_empty());
    running.between(Between::Restart, query.single());
    assert_eq!(text(&running.epoch(batch, at(110)).rows), of(100, "1"));
    // The clock was set back: the window that is closed stays closed.
    assert!(running.epoch(batch, at(105)).rows.is_empty());
    let end = Time {
        watermark: i64::MAX,
        now: 112 * SECOND,
    };
    let out = running.epoch(batch, end);
    assert_eq!((text(&out.rows), out.late.len()), (of(110, "3"), 0));
    // Behind an exchange it counts when groups come: none is late.
    let mut first = Running::new(query.partial());
    let mut last = Running::new(query.last());
    let exchanged = first.epoch(batch, at(109)).rows;
    assert!(last.epoch(&[], at(120)).rows.is_empty());
    assert!(last.epoch(&exchanged, at(121)).rows.is_empty());
    assert_eq!(text(&last.epoch(&[], at(130)).rows), of(120, "1"));
}

#[test]
fn groups_that_come_through_an_exchange_too_late_are_put_out_for_each_window_they_missed() {
    let query = counting(hop(10, 5));
    let mut first = Running::new(query.partial());
    let mut last = Running::new(query.last());
    last.epoch(&[], end_at(12));
    let batch = rows(
        TimeUnit::Microsecond,
        &[row(1, "a", 1), row(1, "a", 1), row(6, "a", 1), row(11, "a", 1)],
    );
    let exchanged = first.epoch(&[batch], end_at(0)).rows;
    let out = last.epoch(&exchanged, end_at(99));
    let missed = [(-5, "2"), (0, "2"), (0, "1")];
    let missed = missed.map(|(start, count)| vec!["a".to_owned(), stamp(start), stamp(start + 10), count.into()]);
    assert_eq!(text(&out.late), missed);
    let expected = [(5, "2"), (10, "1")];
    let expected = expected.map(|(start, count)| vec!["a".to_owned(), stamp(start), stamp(start + 10), count.into()]);
    assert_eq!(text(&out.rows), expected);
}

#[test]
fn rows_that_one_task_found_partly_late_hold_no_window_of_another_task_back() {
    let query = counting(hop(20, 5));
    let (mut ahead, mut behind) = (Running::new(query.partial()), Running::new(query.partial()));
    let mut last = Running::new(query.last());
    ahead.epoch(&[], end_at(18));
    let one = |number| rows(TimeUnit::Microsecond, &[row(number, "a", 1)]);
    // Too late for the windows that end at 10 and 15 s.
    let mut exchanged = ahead.epoch(&[one(6)], end_at(18)).rows;
    exchanged.extend(behind.epoch(&[one(11)], end_at(0)).rows);
    let out = last.epoch(&exchanged, end_at(99));
    let expected = [(-5, "1"), (0, "2"), (5, "2"), (10, "1")];
    let expected = expected.map(|(start, count)| vec!["a".to_owned(), stamp(start), stamp(start + 20), count.into()]);
    assert_eq!(text(&out.rows), expected);
}

#[test]
fn a_filter_that_is_not_true_leaves_rows_out() {
    let odd = binary(
        column("number"),
        logical_expr::Operator::Gt,
        lit(3_i64),
        &input(TimeUnit::Microsecond),
    )
    .unwrap();
    let mut filtered = sum();
    filtered.filter = Some(odd);
    let query = Query {
        columns: vec![filtered, sum(), count()],
        ..counting(hop(10, 10))
    };
    let null = Row {
        number: None,
        ..row(3, "a", 0)
    };
    let batch = rows(
        TimeUnit::Microsecond,
        &[row(1, "a", 5), row(2, "a", 3), null, row(4, "b", 1)],
    );
    let out = Running::new(query.single()).epoch(&[batch], end_at(99));
    let results: Vec<_> = text(&out.rows).into_iter().map(|row| row[3..].to_vec()).collect();
    assert_eq!(results, [["5", "8", "3"], ["", "1", "1"]]);
}

#[test]
fn keys_may_have_any_type() {
    let numbers = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let keys: Vec<ArrayRef> = vec![
        numbers.clone(),
        Arc::new(UInt32Array::from(vec![Some(1), None, Some(3)])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)])),
        Arc::new(Date32Array::from(vec![Some(1), None, Some(3)])),
        Arc::new(
            Decimal128Array::from(vec![Some(1), None, Some(3)])
                .with_precision_and_scale(20, 2)
                .unwrap(),
        ),
        Arc::new(StringArray::from(vec![
            Some("short"),
            None,
            Some("longer than eight bytes"),
        ])),
        Arc::new(StringViewArray::from(vec![
            Some("short"),
            None,
            Some("longer than twelve bytes"),
        ])),
        Arc::new(BinaryArray::from(vec![
            Some(&b"short"[..]),
            None,
            Some(&b"\xff\x00"[..]),
        ])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]).with_timezone("+02:00")),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ])),
        Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("n", DataType::Int64, true)),
            numbers as ArrayRef,
        )])),
    ];
    let order = UInt32Array::from(vec![0, 1, 2, 0, 1, 0]);
    for key in keys.iter().chain(&keys).collect::<Vec<_>>().windows(2) {
        let time = rows(TimeUnit::Microsecond, &vec![row(0, "a", 1); 6]).column(0).clone();
        let columns: Vec<ArrayRef> = vec![
            time,
            take(key[0], &order, None).unwrap(),
            take(key[1], &order, None).unwrap(),
        ];
        let field = |(name, column): (&str, &ArrayRef)| Field::new(name, column.data_type().clone(), true);
        let schema = Arc::new(Schema::new(
            ["ts", "k1", "k2"]
                .into_iter()
                .zip(&columns)
                .map(field)
                .collect::<Vec<_>>(),
        ));
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        for (groups, emit) in [
            (Groups::Keys, Emit::Update),
            (
                Groups::Windows {
                    time: Some(0),
                    window: hop(10, 10),
                },
                Emit::Append,
            ),
            (
                Groups::Windows {
                    time: Some(0),
                    window: Window::Session { gap: 5 },
                },
                Emit::Append,
            ),
        ] {
            for width in [1, 2] {
                let aggregate = Aggregate {
                    groups,
                    keys: (1..=width)
                        .map(|index| Arc::new(Column::new("k", index)) as Expr)
                        .collect(),
                    columns: vec![count()],
                    phase: Phase::Single,
                    emit,
                };
                let mut fields: Vec<_> = schema.fields()[1..=width].to_vec();
                if groups != Groups::Keys {
                    fields.extend([schema.fields()[0].clone(), schema.fields()[0].clone()]);
                }
                fields.push(count().function.field());
                let output = Arc::new(Schema::new(fields));
                let build = || super::super::build(&aggregate, &schema, &output).unwrap();
                let mut running = Running::new(build());
                running.epoch(std::slice::from_ref(&batch), end_at(0));
                running.between(Between::Restart, build());
                running.epoch(std::slice::from_ref(&batch), end_at(0));
                running.between(Between::Snapshot, build());
                let out = running.epoch(std::slice::from_ref(&batch), end_at(99));
                let mut counts: Vec<_> = text(&out.rows)
                    .into_iter()
                    .filter_map(|row| row.last().cloned())
                    .collect();
                counts.sort();
                assert_eq!(counts, ["3", "6", "9"], "{:?} {groups:?} {width}", key[0].data_type());
            }
        }
    }
}

#[test]
fn a_change_that_was_never_written_is_refused() {
    let row = rows(TimeUnit::Microsecond, &[row(0, "a", 1)]);
    for query in [
        counting(hop(5, 5)),
        counting(Window::Session { gap: 5 }),
        Query {
            emit: Emit::Update,
            ..counting(hop(5, 5))
        },
    ] {
        for kind in [0, 1, 2, 9] {
            let delta = Delta {
                kind,
                rows: row.clone(),
            };
            assert!(query.single().restore(&delta).is_err(), "kind {kind}");
            let delta = Delta {
                kind,
                rows: row.slice(0, 0),
            };
            assert!(query.single().restore(&delta).is_err(), "kind {kind}");
        }
    }
}

#[test]
fn an_aggregate_without_functions_makes_rows_distinct() {
    for (groups, emit) in [
        (Groups::Keys, Emit::Update),
        (
            Groups::Windows {
                time: Some(0),
                window: hop(10, 10),
            },
            Emit::Append,
        ),
    ] {
        let query = Query {
            groups,
            emit,
            columns: Vec::new(),
            ..counting(hop(1, 1))
        };
        let mut first = Running::new(query.partial());
        let mut last = Running::new(query.last());
        let batch = rows(TimeUnit::Microsecond, &[row(1, "a", 1), row(2, "b", 1), row(3, "a", 2)]);
        for (epoch, watermark) in [0, 99].into_iter().enumerate() {
            let exchanged = first.epoch(std::slice::from_ref(&batch), end_at(0)).rows;
            let out = last.epoch(&exchanged, end_at(watermark));
            last.between(Between::Restart, query.last());
            let keys: Vec<_> = text(&out.rows).into_iter().map(|row| row[0].clone()).collect();
            // In mode append when the window closes, else when they are new.
            let is_written = epoch == usize::from(emit == Emit::Append);
            let expected: &[&str] = if is_written { &["a", "b"] } else { &[] };
            assert_eq!(keys, expected, "{groups:?}");
        }
    }
}
