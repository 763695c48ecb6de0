//! Rankings against sorting.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray},
    compute::SortOptions,
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, UInt64Type},
};
use datafusion::physical_expr::{PhysicalSortExpr, expressions::Column};
use proptest::prelude::*;
use rechka_sql::plan::{Expr, Node, Operation, Origin};

use super::{
    super::{
        build_node,
        testing::{Event, Run},
    },
    *,
};

/// Columns: key, time in milliseconds, a number to rank by, the row's own number.
fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = [
        ("k", DataType::Int64),
        ("ts", time),
        ("v", DataType::Int64),
        ("id", DataType::Int64),
    ];
    Arc::new(Schema::new(
        fields
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .to_vec(),
    ))
}

#[derive(Clone, Debug)]
struct Row {
    key: Option<i64>,
    time: i64,
    value: Option<i64>,
    id: i64,
}

fn batch(rows: &[Row]) -> RecordBatch {
    let numbers = |column: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(column).collect::<Int64Array>());
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time));
    let columns: Vec<ArrayRef> = vec![
        numbers(|row| row.key),
        Arc::new(times),
        numbers(|row| row.value),
        numbers(|row| Some(row.id)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn build(closing: Closing, limit: u64) -> Box<dyn Operator> {
    let column = |name, index| Arc::new(Column::new(name, index)) as Expr;
    let mut partition = vec![column("k", 0)];
    if let Closing::WindowEnd(_) = closing {
        partition.push(column("ts", 1));
    }
    // By value, descending; or by time, ascending.
    let options = SortOptions {
        descending: true,
        nulls_first: false,
    };
    let by_value = PhysicalSortExpr::new(column("v", 2), options);
    let by_time = PhysicalSortExpr::new(
        column("ts", 1),
        SortOptions {
            descending: false,
            nulls_first: false,
        },
    );
    let order = if let Closing::EventTime(_) = closing {
        vec![by_time, by_value]
    } else {
        vec![by_value]
    };
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new("rank", DataType::UInt64, true)));
    let top = TopN {
        partition,
        order,
        limit,
        closing,
    };
    let (from, schema_out) = (vec![Origin::Input(0)], Arc::new(Schema::new(fields)));
    build_node(
        &Node {
            operation: Operation::TopN(top),
            from,
            schema: schema_out,
        },
        &[schema()],
    )
    .unwrap()
}

#[derive(Clone, Debug)]
struct Epoch {
    pushes: Vec<Vec<Row>>,
    advance: i64,
    event: Event,
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let row = (
        prop::option::weighted(0.9, 0..3_i64),
        0..6_i64,
        prop::option::weighted(0.9, 0..5_i64),
    );
    let row = row.prop_map(|(key, time, value)| Row {
        key,
        time,
        value,
        id: 0,
    });
    let push = prop::collection::vec(row, 0..8);
    let event = prop::sample::select(vec![
        Event::Calm,
        Event::Calm,
        Event::Crash,
        Event::Restore,
        Event::Snapshot,
    ]);
    let epoch = (prop::collection::vec(push, 0..4), 0..3_i64, event);
    let epoch = epoch.prop_map(|(pushes, advance, event)| Epoch {
        pushes,
        advance: advance * 100,
        event,
    });
    prop::collection::vec(epoch, 1..12)
}

/// (row, rank) of what was put out.
fn ranked(rows: &[RecordBatch]) -> Vec<(i64, u64)> {
    let ranked = rows.iter().flat_map(|rows| {
        let (ids, ranks) = (
            rows.column(3).as_primitive::<Int64Type>(),
            rows.column(4).as_primitive::<UInt64Type>(),
        );
        ids.values()
            .iter()
            .copied()
            .zip(ranks.values().iter().copied())
            .collect::<Vec<_>>()
    });
    ranked.collect()
}

/// The first rows of each group.
fn expected(closing: Closing, limit: u64, rows: &[Row]) -> Vec<(Row, u64)> {
    let (by_window, by_time) = (
        matches!(closing, Closing::WindowEnd(_)),
        matches!(closing, Closing::EventTime(_)),
    );
    let mut groups = BTreeMap::<_, Vec<Row>>::new();
    for row in rows {
        groups
            .entry((row.key, by_window.then_some(row.time)))
            .or_default()
            .push(row.clone());
    }
    let ranks = groups.into_values().flat_map(|mut group| {
        group.sort_by_key(|row| {
            (
                by_time.then_some(row.time),
                row.value.is_none(),
                row.value.map(|value| -value),
            )
        });
        group.into_iter().zip(1..=limit)
    });
    ranks.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_first_rows_are_those_that_sorting_finds_and_come_when_they_are_known(
        closing in prop::sample::select(vec![Closing::WindowEnd(1), Closing::EventTime(1), Closing::Never]),
        limit in 1..4_u64,
        mut epochs in epochs(),
    ) {
        epochs.push(Epoch { pushes: Vec::new(), advance: 0, event: Event::Calm });
        let new = || build(closing, limit);
        let (count, mut run) = (epochs.len(), Run::new(&new));
        let (mut rows, mut put_out, mut shown) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        let (mut watermark, mut clock, mut id) = (i64::MIN, 0, 0);
        for (number, epoch) in epochs.into_iter().enumerate() {
            let (mut pushes, mut late) = (Vec::new(), Vec::new());
            for mut push in epoch.pushes {
                for row in &mut push {
                    id += 1;
                    row.id = id;
                    row.time = clock + (row.time - 2) * 100;
                }
                pushes.push((0, batch(&push)));
                for row in push {
                    let is_late = match closing {
                        Closing::WindowEnd(_) => row.time <= watermark,
                        Closing::EventTime(_) => row.time < watermark,
                        Closing::Never => false,
                    };
                    if is_late { late.push(row.id) } else { rows.push(row) }
                }
            }
            clock += epoch.advance;
            watermark = if number + 1 == count { i64::MAX } else { clock };
            let out = run.epoch(&pushes, if watermark == i64::MAX { watermark } else { watermark * 1_000 }, epoch.event);
            let found: Vec<_> = out.late.iter().flat_map(|rows| rows.column(3).as_primitive::<Int64Type>().values()).copied().collect();
            prop_assert_eq!(found, late);
            let expected = expected(closing, limit, &rows);
            if closing == Closing::Never {
                let key = |id: i64| rows.iter().find(|row| row.id == id).unwrap().key;
                for (id, rank) in ranked(&out.rows) {
                    prop_assert_ne!(shown.insert((key(id), rank), id), Some(id), "a rank that did not change");
                }
                let expected: BTreeMap<_, _> = expected.iter().map(|(row, rank)| ((row.key, *rank), row.id)).collect();
                prop_assert_eq!(&shown, &expected);
                continue;
            }
            for row in ranked(&out.rows) {
                prop_assert!(put_out.insert(row), "put out twice: {:?}", row);
            }
            let is_known = |row: &Row| match closing {
                Closing::WindowEnd(_) => row.time <= watermark,
                _ => row.time < watermark,
            };
            let expected: BTreeSet<_> =
                expected.iter().filter(|(row, _)| is_known(row)).map(|(row, rank)| (row.id, *rank)).collect();
            prop_assert_eq!(&put_out, &expected);
        }
    }
}

#[test]
fn rows_that_do_not_rank_any_more_are_thrown_away() {
    for closing in [Closing::WindowEnd(1), Closing::Never] {
        let new = || build(closing, 2);
        let mut run = Run::new(&new);
        for epoch in 0..100 {
            let rows: Vec<_> = (0..1_000)
                .map(|row| Row {
                    key: Some(1),
                    time: 1,
                    value: Some(epoch * 1_000 + row),
                    id: row,
                })
                .collect();
            run.epoch(&[(0, batch(&rows))], 0, Event::Calm);
        }
        assert!(
            run.operator().state_bytes() < 1_000_000,
            "{}",
            run.operator().state_bytes()
        );
    }
}

#[test]
fn a_row_that_was_put_out_is_not_kept() {
    let new = || build(Closing::EventTime(1), 1);
    let mut run = Run::new(&new);
    let rows = |key: i64| {
        (0..1_000)
            .map(|id| Row {
                key: Some(key),
                time: key,
                value: None,
                id,
            })
            .collect::<Vec<_>>()
    };
    for key in 0..20 {
        let out = run.epoch(&[(0, batch(&rows(key)))], (key + 1) * 1_000, Event::Calm);
        assert_eq!(ranked(&out.rows), [(0, 1)]);
    }
    let out = run.epoch(
        &[(
            0,
            batch(&[Row {
                key: Some(3),
                time: 100,
                value: None,
                id: 7,
            }]),
        )],
        i64::MAX,
        Event::Calm,
    );
    assert!(out.rows.is_empty());
}
