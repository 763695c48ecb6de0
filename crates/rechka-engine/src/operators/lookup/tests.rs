//! Lookups against a model that goes through all the rows of the table.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, TimestampMillisecondArray},
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
};
use datafusion::{
    logical_expr::Operator as Op,
    physical_expr::expressions::{Column, binary},
};
use proptest::prelude::*;
use rechka_sql::plan::{DELETED, Node, Operation, Origin};

use super::{
    super::{
        build_node,
        testing::{Event, Run},
    },
    *,
};

/// Columns of both: key, time in milliseconds, the row's own number.
fn fields() -> Vec<Field> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = [("k", DataType::Int64), ("ts", time), ("id", DataType::Int64)];
    fields
        .map(|(name, data_type)| Field::new(name, data_type, true))
        .to_vec()
}

fn table_schema() -> SchemaRef {
    let deleted = Field::new(DELETED, DataType::Boolean, false);
    Arc::new(Schema::new(fields().into_iter().chain([deleted]).collect::<Vec<_>>()))
}

#[derive(Clone, Debug)]
struct Row {
    key: Option<i64>,
    time: Option<i64>,
    id: i64,
    deleted: bool,
}

fn batch(input: usize, rows: &[Row]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|row| row.key).collect();
    let times = TimestampMillisecondArray::from_iter(rows.iter().map(|row| row.time));
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.id));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(ids)];
    if input == 0 {
        return RecordBatch::try_new(Arc::new(Schema::new(fields())), columns).unwrap();
    }
    columns.push(Arc::new(BooleanArray::from_iter(
        rows.iter().map(|row| Some(row.deleted)),
    )));
    RecordBatch::try_new(table_schema(), columns).unwrap()
}

fn column(name: &str, index: usize) -> Expr {
    Arc::new(Column::new(name, index))
}

fn build(kind: JoinType, as_of: bool, filtered: bool) -> Box<dyn Operator> {
    let schema = Arc::new(Schema::new([fields(), fields()].concat()));
    let filter = filtered.then(|| binary(column("id", 2), Op::Gt, column("id", 5), &schema).unwrap());
    let as_of = as_of.then_some(AsOf {
        stream: 1,
        event: 1,
        table: 1,
    });
    let lookup = plan::Lookup {
        kind,
        on: vec![(column("k", 0), column("k", 0))],
        filter,
        as_of,
    };
    let from = vec![Origin::Input(0), Origin::Input(1)];
    let inputs = [Arc::new(Schema::new(fields())), table_schema()];
    build_node(
        &Node {
            operation: Operation::Lookup(lookup),
            from,
            schema,
        },
        &inputs,
    )
    .unwrap()
}

/// The table's rows in the order in which they came, and the one that belongs to a row of the stream.
fn partner(table: &[Row], row: &Row, as_of: bool, filtered: bool) -> Option<i64> {
    let mut valid: Vec<_> = table
        .iter()
        .filter(|version| row.key.is_some() && version.key == row.key)
        .collect();
    if as_of {
        valid.retain(|candidate| row.time.is_some_and(|time| candidate.time <= Some(time)));
        valid.sort_by_key(|candidate| candidate.time);
    }
    let valid = valid.last().filter(|version| !version.deleted);
    valid
        .filter(|version| !filtered || row.id > version.id)
        .map(|version| version.id)
}

#[derive(Clone, Debug)]
struct Epoch {
    pushes: Vec<(usize, Vec<Row>)>,
    advance: i64,
    event: Event,
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let fields = (
        prop::option::weighted(0.9, 0..4_i64),
        prop::option::weighted(0.95, -500..2_000_i64),
        0..9_i64,
    );
    let row = (fields, prop::bool::weighted(0.2));
    let row = row.prop_map(|((key, time, id), deleted)| Row { key, time, id, deleted });
    let push = (0..2_usize, prop::collection::vec(row, 0..6));
    let event = prop::sample::select(vec![
        Event::Calm,
        Event::Calm,
        Event::Crash,
        Event::Restore,
        Event::Snapshot,
    ]);
    let epoch = (
        prop::collection::vec(push, 0..4),
        prop::sample::select(vec![0, 1, 300, 1_500]),
        event,
    );
    let epoch = epoch.prop_map(|(pushes, advance, event)| Epoch { pushes, advance, event });
    prop::collection::vec(epoch, 1..12)
}

fn pairs(rows: &[RecordBatch]) -> Vec<(i64, Option<i64>)> {
    let ids = |rows: &RecordBatch, column: usize| rows.column(column).as_primitive::<Int64Type>().clone();
    let pairs = rows.iter().flat_map(|rows| {
        let (stream, table) = (ids(rows, 2), ids(rows, 5));
        stream.values().iter().copied().zip(table.iter()).collect::<Vec<_>>()
    });
    pairs.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_row_finds_what_the_table_has_for_it(
        padded: bool, as_of: bool, filtered: bool, mut epochs in epochs(),
    ) {
        epochs.push(Epoch { pushes: Vec::new(), advance: 0, event: Event::Calm });
        let kind = if padded { JoinType::Left } else { JoinType::Inner };
        let new = || build(kind, as_of, filtered);
        let (count, mut run) = (epochs.len(), Run::new(&new));
        let (mut table, mut waiting) = (Vec::new(), Vec::<Row>::new());
        let (mut watermark, mut clock) = (i64::MIN, 0);
        for (number, epoch) in epochs.into_iter().enumerate() {
            let (mut pushes, mut expected, mut late) = (Vec::new(), Vec::new(), Vec::new());
            let mut put_out = |table: &[Row], row: &Row| {
                let partner = partner(table, row, as_of, filtered);
                if padded || partner.is_some() {
                    expected.push((row.id, partner));
                }
            };
            for (input, mut rows) in epoch.pushes {
                rows.iter_mut().for_each(|row| row.time = row.time.map(|time| clock + time));
                pushes.push((input, batch(input, &rows)));
                for mut row in rows {
                    if input == 1 {
                        // A version that comes late is valid from the watermark on.
                        row.time = Some(row.time.unwrap_or(i64::MIN).max(watermark));
                        table.push(row);
                    } else if !as_of || row.time.is_none() {
                        put_out(&table, &row);
                    } else if row.time.is_some_and(|time| time < watermark) {
                        late.push(row.id);
                    } else {
                        waiting.push(row);
                    }
                }
            }
            clock += epoch.advance;
            watermark = if number + 1 == count { i64::MAX } else { clock };
            let out = run.epoch(&pushes, if watermark == i64::MAX { watermark } else { watermark * 1_000 }, epoch.event);
            waiting.retain(|row| {
                let waits = row.time.is_some_and(|time| time >= watermark);
                if !waits {
                    put_out(&table, row);
                }
                waits
            });
            let mut found = pairs(&out.rows);
            if as_of {
                found.sort_unstable();
                expected.sort_unstable();
            }
            prop_assert_eq!(found, expected);
            let found: Vec<_> = out.late.iter().flat_map(|rows| rows.column(2).as_primitive::<Int64Type>().values()).copied().collect();
            prop_assert_eq!(found, late);
        }
    }
}

#[test]
fn rows_that_were_replaced_are_thrown_away() {
    let (mut lookup, mut out) = (build(JoinType::Inner, false, false), Output::default());
    let time = Time {
        watermark: i64::MIN,
        now: 0,
    };
    for round in 0..100 {
        let rows: Vec<_> = (0..1_000)
            .map(|key| Row {
                key: Some(key),
                time: None,
                id: round,
                deleted: key >= 100,
            })
            .collect();
        lookup.push(1, &batch(1, &rows), time, &mut out).unwrap();
    }
    assert!(lookup.state_bytes() < 1_000_000, "{}", lookup.state_bytes());
    lookup
        .push(
            0,
            &batch(
                0,
                &[Row {
                    key: Some(99),
                    time: None,
                    id: 7,
                    deleted: false,
                }],
            ),
            time,
            &mut out,
        )
        .unwrap();
    lookup
        .push(
            0,
            &batch(
                0,
                &[Row {
                    key: Some(100),
                    time: None,
                    id: 8,
                    deleted: false,
                }],
            ),
            time,
            &mut out,
        )
        .unwrap();
    assert_eq!(pairs(&out.rows), [(7, Some(99))]);
}
