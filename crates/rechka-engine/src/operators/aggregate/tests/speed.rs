//! What an event costs in time of the CPU. Run with `--ignored --nocapture`, optimised, on Linux.
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use datafusion::{functions_aggregate::average::avg_udaf, physical_expr::expressions::cast};

use rechka_sql::plan::{Emit, Groups, Window};

use super::{windows::hop, *};

const EVENTS: usize = 4_000_000;
const BATCH: usize = 8192;
/// 10,000 events a second, of which one in ten is up to 2 s old.
const PER_SECOND: i64 = 10_000;
const DELAY: i64 = 4 * SECOND;

/// Time that this thread had on a CPU.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn events(key: impl Fn(u64) -> ArrayRef, data: DataType) -> Vec<RecordBatch> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("key", data, true),
        Field::new("number", DataType::Int64, true),
    ]));
    let mut random = 42;
    let batches = (0..EVENTS / BATCH).map(|batch| {
        let times: TimestampMillisecondArray = (0..BATCH as i64)
            .map(|row| {
                let time = 1_700_000_000_000 + (batch as i64 * BATCH as i64 + row) * 1000 / PER_SECOND;
                let old = splitmix(&mut random);
                Some(if old.is_multiple_of(10) {
                    time - (old >> 8) as i64 % 2000
                } else {
                    time
                })
            })
            .collect();
        let keys = key(batch as u64);
        let numbers: Int64Array = (0..BATCH as i64).map(Some).collect();
        RecordBatch::try_new(schema.clone(), vec![Arc::new(times), keys, Arc::new(numbers)]).unwrap()
    });
    batches.collect()
}

fn measure(name: &str, window: Window, columns: Vec<AggregateColumn>, batches: Vec<RecordBatch>, per_epoch: usize) {
    let input = batches[0].schema();
    let mut query = windows::query(window);
    query.columns = columns;
    let mut fields = vec![input.field(1).clone()];
    fields.extend(["start", "end"].map(|name| input.field(0).clone().with_name(name)));
    fields.extend(
        query
            .columns
            .iter()
            .map(|column| column.function.field().as_ref().clone()),
    );
    let output: SchemaRef = Arc::new(Schema::new(fields));
    let mut running = Running::new(super::super::build(&query.aggregate(Phase::Single), &input, &output).unwrap());
    let (mut rows, mut late, mut bytes, mut delta) = (0, 0, 0, 0);
    let since = cpu();
    for (epoch, batches) in batches.chunks(per_epoch).enumerate() {
        let done = ((epoch + 1) * per_epoch * BATCH) as i64;
        let watermark = 1_700_000_000 * SECOND + done * SECOND / PER_SECOND - DELAY;
        let out = running.epoch(batches, Time { watermark, now: 0 });
        rows += out.rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        late += out.late.len();
        bytes = running.state_bytes().max(bytes);
        delta += running
            .operator
            .take_delta()
            .unwrap()
            .iter()
            .map(|delta| delta.rows.num_rows())
            .sum::<usize>();
    }
    let nanos = (cpu() - since).as_nanos() as f64 / (batches.len() * BATCH) as f64;
    println!(
        "{name}, {per_epoch} batches an epoch: {nanos:.1} ns an event, {rows} rows, {late} late, \
         {bytes} bytes of state, {delta} rows of deltas"
    );
}

fn ids(keys: u64) -> Vec<RecordBatch> {
    let key = move |batch: u64| -> ArrayRef {
        let mut random = batch;
        Arc::new(
            (0..BATCH)
                .map(|_| Some((splitmix(&mut random) % keys) as i64))
                .collect::<Int64Array>(),
        )
    };
    events(key, DataType::Int64)
}

#[test]
#[ignore = "measures"]
fn an_event_costs_so_much() {
    let channels = |batch: u64| -> ArrayRef {
        let mut random = batch;
        Arc::new(
            (0..BATCH)
                .map(|_| Some(format!("channel-{}", splitmix(&mut random) % 104)))
                .collect::<StringArray>(),
        )
    };
    for per_epoch in [1, 4, 32] {
        let average = {
            let number = cast(column("number"), &input(TimeUnit::Millisecond), DataType::Float64).unwrap();
            function(avg_udaf(), vec![number], |builder| builder)
        };
        measure(
            "w1",
            hop(10, 10),
            vec![count(), average],
            events(channels, DataType::Utf8),
            per_epoch,
        );
        measure("w2", hop(10, 10), vec![count()], ids(9_200), per_epoch);
        measure("q5", hop(10, 2), vec![count()], ids(20_000), per_epoch);
        measure("q5, few keys", hop(10, 2), vec![count()], ids(2_000), per_epoch);
        let session = Window::Session { gap: 10 * SECOND };
        measure("q11", session, vec![count()], ids(10_000), per_epoch);
    }
}

/// The time that 1 M keys take to come back from a snapshot, and from the changes of an epoch.
#[test]
#[ignore = "measures"]
fn a_million_keys_are_restored_in_so_much_time() {
    let keys: ArrayRef = Arc::new((0..1_000_000).map(|key| Some(key * 7919)).collect::<Int64Array>());
    let batches = events(|_| keys.slice(0, BATCH), DataType::Int64);
    let input = batches[0].schema();
    let all: Vec<RecordBatch> = (0..1_000_000 / BATCH)
        .map(|batch| {
            let mut columns = batches[batch].columns().to_vec();
            columns[1] = keys.slice(batch * BATCH, BATCH);
            RecordBatch::try_new(input.clone(), columns).unwrap()
        })
        .collect();
    let time = |watermark| Time { watermark, now: 0 };
    for (name, window, emit) in [
        ("windows", Some(hop(3600, 3600)), Emit::Append),
        ("totals", None, Emit::Update),
        ("sessions", Some(Window::Session { gap: 3600 * SECOND }), Emit::Append),
    ] {
        let mut query = windows::query(window.unwrap_or(hop(1, 1)));
        query.columns = vec![count(), sum()];
        query.emit = emit;
        if window.is_none() {
            query.groups = Groups::Keys;
        }
        let mut fields = vec![input.field(1).clone()];
        if window.is_some() {
            fields.extend(["start", "end"].map(|name| input.field(0).clone().with_name(name)));
        }
        fields.extend(
            query
                .columns
                .iter()
                .map(|column| column.function.field().as_ref().clone()),
        );
        let output: SchemaRef = Arc::new(Schema::new(fields));
        let build = || super::super::build(&query.aggregate(Phase::Single), &input, &output).unwrap();
        let mut running = Running::new(build());
        let since = cpu();
        for part in all.chunks(10) {
            running.epoch(part, time(0));
        }
        let written = cpu() - since;
        for between in [Between::Restart, Between::Snapshot] {
            let since = cpu();
            running.between(between, build());
            println!(
                "{name}: {} keys written in {written:?}; {between:?} {:?}; {} bytes",
                all.len() * BATCH,
                cpu() - since,
                running.state_bytes()
            );
        }
        let since = cpu();
        let rows: usize = running
            .epoch(&[], time(i64::MAX))
            .rows
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        println!("{name}: {rows} rows at the end in {:?}", cpu() - since);
    }
}
