//! What an event costs. Run with `--ignored --nocapture`, optimised.
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use datafusion::{functions_aggregate::average::avg_udaf, physical_expr::expressions::cast};

use rechka_sql::plan::Window;

use super::{windows::hop, *};

const EVENTS: usize = 4_000_000;
const BATCH: usize = 8192;
/// 10,000 events a second, of which one in ten is up to 2 s old.
const PER_SECOND: i64 = 10_000;
const DELAY: i64 = 4 * SECOND;

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
    let since = Instant::now();
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
    let nanos = since.elapsed().as_nanos() as f64 / (batches.len() * BATCH) as f64;
    println!(
        "{name}, {per_epoch} batches an epoch: {nanos:.1} ns an event, {rows} rows, {late} late, state {bytes} bytes, {delta} rows of deltas"
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
    }
}
