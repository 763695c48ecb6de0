//! What a row costs in joins, lookups and rankings. Run with `--ignored --nocapture`, optimised.
use std::{sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    compute::SortOptions,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion::{
    logical_expr::JoinType,
    physical_expr::{PhysicalSortExpr, expressions::Column},
};
use rechka_sql::plan::{Closing, Expr, Join, Lookup, Node, Operation, TimeBound, TopN};

use super::{Operator, Output, Time, build_node};

const BATCH: usize = 8192;
const SECOND: i64 = 1_000_000;

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Columns: key, time, a number, a text of 40 bytes.
fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = [
        ("k", DataType::Int64),
        ("ts", time),
        ("n", DataType::Int64),
        ("text", DataType::Utf8),
    ];
    Arc::new(Schema::new(
        fields
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .to_vec(),
    ))
}

fn rows(keys: impl Iterator<Item = i64>, times: impl Iterator<Item = i64>) -> RecordBatch {
    let keys = Int64Array::from_iter_values(keys);
    let numbers = Int64Array::from_iter_values(0..keys.len() as i64);
    let texts = StringArray::from_iter_values((0..keys.len()).map(|row| format!("{row:040}")));
    let times = TimestampMillisecondArray::from_iter_values(times.take(keys.len()));
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(numbers), Arc::new(texts)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A batch of random keys, of `count` rows at this many a second.
fn random(random: &mut u64, keys: u64, count: usize, from: i64, per_second: i64) -> RecordBatch {
    let times = (0..).map(|row| from + row * 1_000 / per_second);
    rows(
        (0..count)
            .map(|_| (splitmix(random) % keys) as i64)
            .collect::<Vec<_>>()
            .into_iter(),
        times,
    )
}

fn column(name: &str, index: usize) -> Expr {
    Arc::new(Column::new(name, index))
}

fn node(operation: Operation, inputs: &[SchemaRef], fields: Vec<Field>) -> Box<dyn Operator> {
    build_node(
        &Node {
            operation,
            from: Vec::new(),
            schema: Arc::new(Schema::new(fields)),
        },
        inputs,
    )
    .unwrap()
}

fn fields() -> Vec<Field> {
    schema().fields().iter().map(|field| field.as_ref().clone()).collect()
}

fn join(kind: JoinType, columns: &[(&str, usize)], upper: i64) -> Box<dyn Operator> {
    let on = columns
        .iter()
        .map(|(name, index)| (column(name, *index), column(name, *index)))
        .collect();
    let bound = TimeBound {
        left: 1,
        right: 1,
        lower: 0,
        upper,
    };
    node(
        Operation::Join(Join {
            kind,
            on,
            filter: None,
            bound,
        }),
        &[schema(), schema()],
        [fields(), fields()].concat(),
    )
}

/// Pushes and watermarks, timed.
struct Measured {
    operator: Box<dyn Operator>,
    watermark: i64,
    nanos: u128,
    rows_in: usize,
    rows_out: usize,
    state: usize,
    deltas: usize,
}

impl Measured {
    fn new(operator: Box<dyn Operator>) -> Self {
        Self {
            operator,
            watermark: i64::MIN,
            nanos: 0,
            rows_in: 0,
            rows_out: 0,
            state: 0,
            deltas: 0,
        }
    }

    fn epoch(&mut self, pushes: &[(usize, RecordBatch)], watermark: i64) {
        let mut out = Output::default();
        let since = Instant::now();
        for (input, rows) in pushes {
            self.operator
                .push(
                    *input,
                    rows,
                    Time {
                        watermark: self.watermark,
                        now: 0,
                    },
                    &mut out,
                )
                .unwrap();
        }
        self.operator.end_epoch(Time { watermark, now: 0 }, &mut out).unwrap();
        let deltas = self.operator.take_delta().unwrap();
        self.nanos += since.elapsed().as_nanos();
        self.watermark = watermark;
        self.state = self.state.max(self.operator.state_bytes());
        self.deltas += deltas.iter().map(|delta| delta.rows.num_rows()).sum::<usize>();
        self.rows_in += pushes.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>();
        self.rows_out += out.rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert!(out.late.is_empty());
    }

    fn report(&self, name: &str) {
        let Measured {
            rows_in,
            rows_out,
            state,
            deltas,
            ..
        } = self;
        let nanos = self.nanos as f64 / self.rows_in as f64;
        println!("{name}: {nanos:.1} ns a row, {rows_in} in, {rows_out} out, {deltas} in deltas, state {state} bytes");
    }
}

#[test]
#[ignore = "measures"]
fn a_joined_row_costs_so_much() {
    let mut seed = 42;
    for per_epoch in [1_000, BATCH] {
        // Bids against the greatest price of each 10 s, which is known when they are over.
        let mut q7 = Measured::new(join(JoinType::Inner, &[("k", 0)], 10 * SECOND));
        let mut end = 10_000;
        for epoch in 0..2_000_000 / per_epoch as i64 {
            let now = epoch * per_epoch as i64 / 10;
            let mut pushes = vec![(0, random(&mut seed, 1_000_000, per_epoch, now, 10_000))];
            if now - 4_000 >= end {
                pushes.push((1, rows([999_999].into_iter(), [end].into_iter())));
                end += 10_000;
            }
            q7.epoch(&pushes, (now - 4_000) * 1_000);
        }
        q7.report(&format!("q7, {per_epoch} rows an epoch"));

        for kind in [JoinType::Inner, JoinType::Left] {
            let mut interval = Measured::new(join(kind, &[("k", 0)], 60 * SECOND));
            for epoch in 0..2_000_000 / per_epoch as i64 {
                let now = epoch * per_epoch as i64 / 10;
                let clicks = random(&mut seed, 100_000, per_epoch, now, 10_000);
                let purchases = random(&mut seed, 100_000, per_epoch / 10, now, 1_000);
                interval.epoch(&[(0, clicks), (1, purchases)], (now - 4_000) * 1_000);
            }
            interval.report(&format!("{kind} join within 60 s, {per_epoch} rows an epoch"));
        }
    }

    // Windows of 10 s: 10,000 new persons and 30,000 sellers each.
    let mut q8 = Measured::new(join(JoinType::Inner, &[("k", 0), ("ts", 1)], 0));
    for window in 1..50 {
        let batches = |input: usize, count: i64| {
            let at = std::iter::repeat(window * 10_000);
            let starts = (0..count).step_by(BATCH);
            starts
                .map(|start| (input, rows(start..count.min(start + BATCH as i64), at.clone())))
                .collect::<Vec<_>>()
        };
        q8.epoch(&[batches(0, 10_000), batches(1, 30_000)].concat(), window * 10 * SECOND);
    }
    q8.report("q8");
}

#[test]
#[ignore = "measures"]
fn restoring_a_row_costs_so_much() {
    let (mut seed, kind) = (42, JoinType::Left);
    let mut measured = Measured::new(join(kind, &[("k", 0)], 3600 * SECOND));
    for epoch in 0..1_000_000 / BATCH as i64 {
        let now = epoch * BATCH as i64 / 10;
        measured.epoch(
            &[(0, random(&mut seed, 1_000_000, BATCH, now, 10_000))],
            (now - 4_000) * 1_000,
        );
    }
    let (snapshot, since) = (measured.operator.snapshot().unwrap(), Instant::now());
    let mut operator = join(kind, &[("k", 0)], 3600 * SECOND);
    snapshot.iter().for_each(|delta| operator.restore(delta).unwrap());
    println!(
        "restore: {:.1} ns a row",
        since.elapsed().as_nanos() as f64 / measured.rows_in as f64
    );
}

#[test]
#[ignore = "measures"]
fn a_row_that_is_looked_up_costs_so_much() {
    let table: Vec<_> = fields()
        .into_iter()
        .chain([Field::new("deleted", DataType::Boolean, false)])
        .collect();
    let table: SchemaRef = Arc::new(Schema::new(table));
    let on = vec![(column("k", 0), column("k", 0))];
    let lookup = Lookup {
        kind: JoinType::Left,
        on,
        filter: None,
        as_of: None,
    };
    let inputs = [schema(), table.clone()];
    let mut measured = Measured::new(node(Operation::Lookup(lookup), &inputs, [fields(), fields()].concat()));
    for start in (0..100_000).step_by(BATCH) {
        let upserts = rows(start..start + BATCH as i64, std::iter::repeat(0));
        let mut columns = upserts.columns().to_vec();
        columns.push(Arc::new(BooleanArray::from(vec![false; BATCH])));
        measured.epoch(&[(1, RecordBatch::try_new(table.clone(), columns).unwrap())], 0);
    }
    measured.report("rows of the table");
    let (mut seed, operator) = (42, measured.operator);
    let mut measured = Measured::new(operator);
    for _ in 0..200 {
        measured.epoch(&[(0, random(&mut seed, 100_000, BATCH, 0, 10_000))], 0);
    }
    measured.report("rows that look up");
}

#[test]
#[ignore = "measures"]
fn a_ranked_row_costs_so_much() {
    let closings = [
        ("window", Closing::WindowEnd(1)),
        ("first", Closing::EventTime(1)),
        ("update", Closing::Never),
    ];
    for (name, closing) in closings {
        let by = if name == "first" {
            column("ts", 1)
        } else {
            column("n", 2)
        };
        let order = vec![PhysicalSortExpr::new(
            by,
            SortOptions {
                descending: name != "first",
                nulls_first: false,
            },
        )];
        let limit = if name == "first" { 1 } else { 10 };
        let top = TopN {
            partition: vec![column("k", 0)],
            order,
            limit,
            closing,
        };
        let output = fields()
            .into_iter()
            .chain([Field::new("rank", DataType::UInt64, true)])
            .collect();
        let mut measured = Measured::new(node(Operation::TopN(top), &[schema()], output));
        let mut seed = 42;
        for epoch in 0..200 {
            let now = epoch * BATCH as i64 / 10;
            let rows = match closing {
                Closing::WindowEnd(_) => random(
                    &mut seed,
                    10_000,
                    BATCH,
                    now / 10_000 * 10_000 + 10_000,
                    i64::MAX / 1_000,
                ),
                _ => random(&mut seed, 10_000, BATCH, now, 10_000),
            };
            measured.epoch(&[(0, rows)], (now - 4_000) * 1_000);
        }
        measured.report(name);
    }
}
