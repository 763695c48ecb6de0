//! Nexmark from JSON in the embedded log: `cargo run --release -p rechka-bench --features engine --bin nexmark [EVENTS [DIR]]`.
//!
//! Beside each query stands its floor, in the same run: reading its input from the log (checksum, decompression), and decoding the
//! columns it needs; without the feature `engine` nothing else is measured. The queries run exactly once, from the topic `bid` to a topic
//! of rows as JSON, all committed. Rates are bids per second of processor time, all threads together: what a core does.
#[cfg(feature = "engine")]
use std::path::Path;
use std::{hint::black_box, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rechka_bench::{
    Stopwatch,
    nexmark::{Stream, fill},
};
use rechka_formats::Format;
use rechka_log::{Batch, Log, SqliteLog, TopicPartition};

/// A query.
struct Query {
    name: &'static str,
    /// The columns of `bid` that it needs.
    columns: &'static [&'static str],
    #[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "only the engine reads it"))]
    text: &'static str,
}

const QUERIES: [Query; 5] = [
    Query {
        name: "q0",
        columns: &["auction", "bidder", "price", "dateTime", "extra"],
        text: include_str!("../../nexmark/q0.sql"),
    },
    Query {
        name: "q2",
        columns: &["auction", "price"],
        text: include_str!("../../nexmark/q2.sql"),
    },
    Query {
        name: "q5",
        columns: &["auction", "dateTime"],
        text: include_str!("../../nexmark/q5.sql"),
    },
    Query {
        name: "w1",
        columns: &["price", "channel", "dateTime"],
        text: include_str!("../../nexmark/w1.sql"),
    },
    Query {
        name: "w2",
        columns: &["bidder", "dateTime"],
        text: include_str!("../../nexmark/w2.sql"),
    },
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let events = arguments
        .next()
        .map_or(Ok(5_000_000), |events| events.parse())
        .context("EVENTS")?;
    let directory = PathBuf::from(arguments.next().unwrap_or("target/bench-nexmark".to_owned()));
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(&directory)?);
    let watch = Stopwatch::start();
    let [_, _, bids] = fill(&*log, events, 42)?;
    println!(
        "{events} events written, {bids} of them bids: {:.2} M events/s, {:.2} per cpu second",
        events as f64 / watch.seconds() / 1e6,
        events as f64 / watch.processor_seconds() / 1e6
    );
    let rate = |watch: &Stopwatch| bids as f64 / watch.processor_seconds() / 1e6;

    println!(
        "\nM bids per cpu second\n{:<6}{:>8}{:>10}{:>8}{:>12}",
        "query", "read", "decoded", "query", "rows"
    );
    for query in &QUERIES {
        let watch = Stopwatch::start();
        read(&*log, |batch| drop(black_box(batch)))?;
        let reading = rate(&watch);
        let mut decoder = Format::Json.decoder(&bid(None), bid(Some(query.columns)))?;
        let watch = Stopwatch::start();
        read(&*log, |batch| drop(black_box(decoder.decode(&batch))))?;
        print!("{:<6}{reading:>8.2}{:>10.2}", query.name, rate(&watch));
        #[cfg(feature = "engine")]
        {
            let watch = Stopwatch::start();
            let rows = run(&log, query)?;
            print!("{:>8.2}{rows:>12}", rate(&watch));
        }
        println!();
    }
    drop(log);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// The columns of a bid, or those of these names.
fn bid(wanted: Option<&[&str]>) -> SchemaRef {
    let columns = [
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("channel", DataType::Utf8),
        ("url", DataType::Utf8),
        ("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("extra", DataType::Utf8),
    ];
    let columns = columns
        .into_iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted.contains(name)));
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Reads all bids.
fn read(log: &dyn Log, mut each: impl FnMut(Batch)) -> Result<()> {
    let partition = TopicPartition::new(Stream::Bid.topic(), 0);
    let end = log.offsets(&partition)?.end;
    let mut reader = log.read(vec![(partition, 0)])?;
    let mut position = 0;
    while position < end {
        let fetched = reader.poll(Duration::from_secs(10))?.context("records are missing")?;
        position = fetched.next_offset();
        each(fetched.batch);
    }
    Ok(())
}

/// Runs a query to the end of its input; gives the number of its rows.
#[cfg(feature = "engine")]
fn run(log: &Arc<dyn Log>, query: &Query) -> Result<u64> {
    let streams = include_str!("../../nexmark/streams.sql");
    let text = format!("{streams} CREATE STREAM {} AS {}", query.name, query.text);
    let outside = rechka_engine::Outside::new("");
    for running in rechka_sql::Pipeline::read(&text, Path::new(""), &outside)?.running {
        rechka_engine::run(log.clone(), running.query, rechka_engine::RunOptions::to_the_end())?.wait()?;
    }
    Ok(log.offsets(&TopicPartition::new(query.name, 0))?.end)
}
