//! Joins against a model that compares every row with every other.
use std::sync::Arc;

use arrow::{
    array::{AsArray, Int64Array, TimestampMillisecondArray},
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
};
use datafusion::{
    logical_expr::{JoinType, Operator as Op},
    physical_expr::expressions::{Column, binary},
};
use proptest::prelude::*;
use rechka_sql::plan::{Expr, Node, Operation, Origin, TimeBound};

use super::{
    super::{
        build_node,
        testing::{Event, Run},
    },
    *,
};

const KINDS: [JoinType; 8] = [
    JoinType::Inner,
    JoinType::Left,
    JoinType::Right,
    JoinType::Full,
    JoinType::LeftSemi,
    JoinType::RightSemi,
    JoinType::LeftAnti,
    JoinType::RightAnti,
];

/// Columns of both sides: key, time in milliseconds, a number to compare, the row's own number.
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
    time: Option<i64>,
    value: i64,
    id: i64,
}

fn batch(rows: &[Row]) -> RecordBatch {
    let numbers = |column: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(column).collect::<Int64Array>());
    let times = TimestampMillisecondArray::from_iter(rows.iter().map(|row| row.time));
    let columns: Vec<ArrayRef> = vec![
        numbers(|row| row.key),
        Arc::new(times),
        numbers(|row| Some(row.value)),
        numbers(|row| Some(row.id)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn column(name: &str, index: usize) -> Expr {
    Arc::new(Column::new(name, index))
}

/// Bound in milliseconds.
fn node(kind: JoinType, (lower, upper): (i64, i64), filtered: bool) -> Node {
    let both = || {
        schema()
            .fields()
            .iter()
            .chain(schema().fields())
            .cloned()
            .collect::<Vec<_>>()
    };
    let schema = if Kind::new(kind).unwrap().pairs {
        Arc::new(Schema::new(both()))
    } else {
        schema()
    };
    let filter = filtered.then(|| binary(column("v", 2), Op::Lt, column("v", 6), &Schema::new(both())).unwrap());
    let bound = TimeBound {
        left: 1,
        right: 1,
        lower: lower * 1_000,
        upper: upper * 1_000,
    };
    let join = plan::Join {
        kind,
        on: vec![(column("k", 0), column("k", 0))],
        filter,
        bound,
    };
    Node {
        operation: Operation::Join(join),
        from: vec![Origin::Input(0), Origin::Input(1)],
        schema,
    }
}

fn build(node: &Node) -> Box<dyn Operator> {
    build_node(node, &[schema(), schema()]).unwrap()
}

/// What was put out: the numbers of the left and of the right row.
type Joined = Vec<(Option<i64>, Option<i64>)>;

fn joined(kind: JoinType, rows: &[RecordBatch]) -> Joined {
    let ids = |rows: &RecordBatch, column: usize| {
        rows.column(column)
            .as_primitive::<Int64Type>()
            .iter()
            .collect::<Vec<_>>()
    };
    let put_out = rows.iter().flat_map(|rows| match kind {
        JoinType::LeftSemi | JoinType::LeftAnti => ids(rows, 3).into_iter().map(|id| (id, None)).collect::<Vec<_>>(),
        JoinType::RightSemi | JoinType::RightAnti => ids(rows, 3).into_iter().map(|id| (None, id)).collect(),
        _ => ids(rows, 3).into_iter().zip(ids(rows, 7)).collect(),
    });
    put_out.collect()
}

/// All that must have been put out when these rows were taken and the watermark (in milliseconds) has come so far.
fn expected(
    kind: JoinType,
    (lower, upper): (i64, i64),
    filtered: bool,
    sides: &[Vec<Row>; 2],
    watermark: i64,
) -> Joined {
    let matches = |left: &Row, right: &Row| {
        let (Some(left_time), Some(right_time)) = (left.time, right.time) else {
            return false;
        };
        let near = left_time + lower <= right_time && right_time <= left_time + upper;
        left.key.is_some() && left.key == right.key && near && (!filtered || left.value < right.value)
    };
    let complete = |row: &Row, wait: i64| match row.time.filter(|_| row.key.is_some()) {
        Some(time) => watermark == i64::MAX || time + wait < watermark,
        None => true,
    };
    let [left, right] = sides;
    let mut out = Joined::new();
    let kind = Kind::new(kind).unwrap();
    if kind.pairs {
        let pairs = left
            .iter()
            .flat_map(|left| right.iter().map(move |right| (left, right)));
        out.extend(
            pairs
                .filter(|(left, right)| matches(left, right))
                .map(|(l, r)| (Some(l.id), Some(r.id))),
        );
    }
    let mut alone = |kind: Alone, row: &Row, matched: bool, wait: i64, put_out| match kind {
        Alone::Matched if matched => out.push(put_out),
        Alone::Padded | Alone::Unmatched if !matched && complete(row, wait) => out.push(put_out),
        _ => {}
    };
    for row in left {
        alone(
            kind.alone[0],
            row,
            right.iter().any(|right| matches(row, right)),
            upper,
            (Some(row.id), None),
        );
    }
    for row in right {
        alone(
            kind.alone[1],
            row,
            left.iter().any(|left| matches(left, row)),
            -lower,
            (None, Some(row.id)),
        );
    }
    out
}

#[derive(Clone, Debug)]
struct Epoch {
    pushes: Vec<(usize, Vec<Row>)>,
    advance: i64,
    event: Event,
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let row = (
        prop::option::weighted(0.9, 0..3_i64),
        prop::option::weighted(0.95, -1_000..4_000_i64),
        0..4_i64,
    );
    let row = row.prop_map(|(key, time, value)| Row {
        key,
        time,
        value,
        id: 0,
    });
    let push = (0..2_usize, prop::collection::vec(row, 0..8));
    let event = prop::sample::select(vec![
        Event::Calm,
        Event::Calm,
        Event::Crash,
        Event::Restore,
        Event::Snapshot,
    ]);
    let epoch = (
        prop::collection::vec(push, 0..4),
        prop::sample::select(vec![0, 1, 300, 2_500]),
        event,
    );
    let epoch = epoch.prop_map(|(pushes, advance, event)| Epoch { pushes, advance, event });
    prop::collection::vec(epoch, 1..12)
}

fn microseconds(watermark: i64) -> i64 {
    if watermark == i64::MIN || watermark == i64::MAX {
        watermark
    } else {
        watermark * 1_000
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_join_puts_out_what_comparing_all_rows_finds_and_not_later(
        kind in prop::sample::select(KINDS.to_vec()),
        bound in prop::sample::select(vec![(0, 0), (-500, 1_200), (100, 900), (-2_000, -300), (0, 10_000)]),
        filtered: bool,
        mut epochs in epochs(),
    ) {
        // The last epoch is the end of the input.
        epochs.push(Epoch { pushes: Vec::new(), advance: 0, event: Event::Calm });
        let (node, count) = (node(kind, bound, filtered), epochs.len());
        let new = || build(&node);
        let mut run = Run::new(&new);
        let (mut sides, mut put_out, mut late) = ([Vec::new(), Vec::new()], Joined::new(), Vec::<i64>::new());
        let (mut watermark, mut clock, mut id) = (i64::MIN, 0, 0);
        for (number, epoch) in epochs.into_iter().enumerate() {
            let (mut pushes, mut expected_late) = (Vec::new(), Vec::new());
            for (input, mut rows) in epoch.pushes {
                for row in &mut rows {
                    id += 1;
                    row.id = id;
                    row.time = row.time.map(|time| clock + time);
                }
                pushes.push((input, batch(&rows)));
                for row in rows {
                    let is_late = row.time.is_some_and(|time| time < watermark);
                    if is_late { expected_late.push(row.id) } else { sides[input].push(row) }
                }
            }
            clock += epoch.advance;
            watermark = if number + 1 == count { i64::MAX } else { clock };
            let out = run.epoch(&pushes, microseconds(watermark), epoch.event);
            late.clear();
            for rows in &out.late {
                late.extend(rows.column(3).as_primitive::<Int64Type>().values());
            }
            prop_assert_eq!(&late, &expected_late);
            put_out.extend(joined(kind, &out.rows));
            put_out.sort_unstable();
            let mut expected = expected(kind, bound, filtered, &sides, watermark);
            expected.sort_unstable();
            prop_assert_eq!(&put_out, &expected);
        }
        prop_assert_eq!(run.operator().state_bytes(), 0);
    }
}

#[test]
fn a_key_of_many_rows_gives_all_pairs() {
    let rows: Vec<_> = (0..300)
        .map(|id| Row {
            key: Some(1),
            time: Some(0),
            value: 0,
            id,
        })
        .collect();
    let node = node(JoinType::Inner, (0, 0), false);
    let new = || build(&node);
    let out = Run::new(&new).epoch(&[(0, batch(&rows)), (1, batch(&rows))], i64::MAX, Event::Calm);
    assert!(out.rows.iter().all(|rows| rows.num_rows() <= PAIRS));
    let mut pairs = joined(JoinType::Inner, &out.rows);
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), 300 * 300);
}

#[test]
fn state_is_dropped_when_the_watermark_has_passed() {
    let node = node(JoinType::Left, (0, 1_000), false);
    let new = || build(&node);
    let mut run = Run::new(&new);
    for second in 0..100 {
        let rows: Vec<_> = (0..100)
            .map(|id| Row {
                key: Some(id),
                time: Some(second * 1_000 + id),
                value: 0,
                id,
            })
            .collect();
        run.epoch(&[(0, batch(&rows))], (second - 1) * 1_000_000, Event::Calm);
    }
    assert!(
        run.operator().state_bytes() < 5 * 100 * 200,
        "{}",
        run.operator().state_bytes()
    );
}

#[test]
fn a_change_of_another_operator_is_refused() {
    let mut join = build(&node(JoinType::Left, (0, 1_000), false));
    for kind in 0..6 {
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert!(join.restore(&Delta { kind, rows }).is_err());
    }
    let rows = side::closed_rows(&[(0, 7)]).unwrap();
    assert!(
        join.restore(&Delta {
            kind: LEFT_CLOSED,
            rows
        })
        .is_err()
    );
}

#[test]
fn joins_that_streams_do_not_have_are_refused() {
    assert!(Kind::new(JoinType::LeftMark).is_err());
}
