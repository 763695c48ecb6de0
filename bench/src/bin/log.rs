//! The embedded log beside what the machine can do: `cargo run --release -p rechka-bench --bin log [DIR [MIB]]`.
//!
//! DIR (default `target/bench-log`) should lie on the disk in question; MIB (default 768) is what each throughput case
//! writes. Reading "from the file" finds the file in the system's page cache: it measures SQLite, checksum and
//! decompression, not the disk. "of the disk" is the share of the best rate of a plain file, every stored byte counted twice:
//! SQLite writes it into the WAL and then into the file. On a busy machine look at the processor seconds per GB.
use std::{
    fs::{self, File, OpenOptions},
    hint::black_box,
    io::{Seek, Write},
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rechka_bench::{
    Stopwatch, dense,
    nexmark::{Nexmark, Stream},
    percentile,
};
use rechka_log::{Append, Batch, BatchBuilder, Log, SqliteLog, TopicPartition, TopicSpec};

/// Bytes of values in one batch of the throughput cases.
const BATCH_BYTES: usize = 1 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or("target/bench-log".to_owned()));
    let mebibytes = arguments.next().map_or(Ok(768), |mib| mib.parse()).context("MIB")?;
    let total = mebibytes << 20;
    fs::create_dir_all(&directory)?;
    let json = batches(bids(64_000), 263)?;
    let noise = batches(dense(16_000, 7), 1000)?;

    println!("limits of this machine, one thread");
    memory(&json);
    compression(&json);
    let disk = disk(&directory, &noise)?;

    println!("\nappend, {mebibytes} MiB each, batches of 1 MiB");
    println!(
        "{:<8}{:>10}{:>10}{:>12}{:>12}{:>11}{:>11}{:>11}",
        "data", "producers", "MB/s", "events/s", "of the disk", "cpu s/GB", "p50 ms", "p99 ms"
    );
    for (name, data) in [("json", &json), ("dense", &noise)] {
        for producers in [1, 4, 16] {
            append(&directory.join("append"), name, data, producers, total, disk)?;
        }
    }
    println!("\ncommit latency, one 1 KiB record at a time");
    for producers in [1, 4, 16] {
        commit_latency(&directory.join("commit"), producers)?;
    }
    println!("\nread, one reader");
    read(&directory.join("read"), &json, total)?;
    println!("\ndelivery at 4 x 100 appends/s of 16 KiB of JSON");
    delivery(&directory.join("delivery"), &json[0])?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

/// So many bids as JSON.
fn bids(count: usize) -> Vec<Vec<u8>> {
    let mut nexmark = Nexmark::new(42);
    let mut bids = Vec::with_capacity(count);
    while bids.len() < count {
        let mut value = Vec::with_capacity(320);
        if let (Stream::Bid, _) = nexmark.next_event(&mut value) {
            bids.push(value);
        }
    }
    bids
}

/// Batches of about [`BATCH_BYTES`] from records of about `record` bytes.
fn batches(records: Vec<Vec<u8>>, record: usize) -> Result<Vec<Batch>> {
    let batch = |records: &[Vec<u8>]| {
        let mut builder = BatchBuilder::with_capacity(records.len(), BATCH_BYTES);
        for (time, record) in (1_767_225_600_000..).zip(records) {
            builder.push(None, record, time, &[])?;
        }
        Ok(builder.finish())
    };
    records.chunks_exact(BATCH_BYTES / record).map(batch).collect()
}

fn rate(bytes: usize, watch: &Stopwatch) -> f64 {
    bytes as f64 / watch.seconds() / 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn memory(batches: &[Batch]) {
    let from: Vec<u8> = batches.iter().flat_map(|batch| batch.values().to_vec()).collect();
    let mut to = vec![0; from.len()];
    let watch = Stopwatch::start();
    const ROUNDS: usize = 32;
    for _ in 0..ROUNDS {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    println!(
        "  memory copy           {:>8.0} MB/s",
        rate(ROUNDS * from.len(), &watch)
    );
}

fn compression(batches: &[Batch]) {
    let values: Vec<_> = batches.iter().map(Batch::values).collect();
    let mut buffer = vec![0; lz4_flex::block::get_maximum_output_size(2 * BATCH_BYTES)];
    let mut compressed = Vec::new();
    const ROUNDS: usize = 8;
    let watch = Stopwatch::start();
    for _ in 0..ROUNDS {
        compressed.clear();
        for values in &values {
            let length = lz4_flex::block::compress_into(values, &mut buffer).unwrap_or_default();
            compressed.push(buffer[..length].to_vec());
        }
    }
    let bytes = ROUNDS * values.iter().map(|values| values.len()).sum::<usize>();
    let stored = ROUNDS * compressed.iter().map(Vec::len).sum::<usize>();
    let per_processor = bytes as f64 / watch.processor_seconds() / 1e6;
    println!(
        "  LZ4 compress, JSON    {:>8.0} MB/s, {per_processor:.0} per cpu second, ratio {:.2}",
        rate(bytes, &watch),
        bytes as f64 / stored as f64
    );
    let watch = Stopwatch::start();
    for _ in 0..ROUNDS {
        for (values, compressed) in values.iter().zip(&compressed) {
            let length = lz4_flex::block::decompress_into(compressed, &mut buffer[..values.len()]);
            black_box(length.unwrap_or_default());
        }
    }
    println!("  LZ4 decompress, JSON  {:>8.0} MB/s", rate(bytes, &watch));
}

/// Writes plain files; gives the best rate in MB/s.
fn disk(directory: &Path, dense: &[Batch]) -> Result<f64> {
    let path = directory.join("plain");
    let data: Vec<u8> = dense.iter().flat_map(|batch| batch.values().to_vec()).collect();
    let mut best: f64 = 0.0;
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    for pass in ["new", "overwritten"] {
        for chunk in [4 << 10, 1 << 20, 4 << 20] {
            file.rewind()?;
            let total = data.len().min(512 * chunk);
            let mut times = Vec::new();
            let watch = Stopwatch::start();
            for chunk in data[..total].chunks(chunk) {
                let begun = Instant::now();
                file.write_all(chunk)?;
                file.sync_data()?;
                times.push(begun.elapsed());
            }
            best = best.max(rate(total, &watch));
            println!(
                "  plain file, {pass:<11} {:>5} KiB + fdatasync: {:>6.0} MB/s, p50 {:.2} ms, p99 {:.2} ms",
                chunk >> 10,
                rate(total, &watch),
                millis(percentile(&mut times, 0.5)),
                millis(percentile(&mut times, 0.99)),
            );
        }
        File::open(&path)?.sync_all()?;
    }
    fs::remove_file(path)?;
    Ok(best)
}

fn fresh(directory: &Path, partitions: u32) -> Result<SqliteLog> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let log = SqliteLog::open(directory)?;
    log.create_topic(&TopicSpec::new("events", partitions))?;
    Ok(log)
}

fn part(partition: usize, batch: &Batch) -> Vec<Append> {
    vec![Append {
        to: TopicPartition::new("events", partition as u32),
        batch: batch.clone(),
    }]
}

/// Bytes of the log's file.
fn stored(directory: &Path) -> u64 {
    fs::metadata(directory.join("log.sqlite")).map_or(0, |file| file.len())
}

fn append(directory: &Path, name: &str, data: &[Batch], producers: usize, total: usize, disk: f64) -> Result<()> {
    // Sixteen appends are under way at a time: throughput, not round trips.
    let under_way = (16 / producers).max(1);
    let log = fresh(directory, producers as u32)?;
    let times = Mutex::new(Vec::new());
    let watch = Stopwatch::start();
    let (mut bytes, mut events) = (0, 0);
    thread::scope(|scope| {
        let producers: Vec<_> = (0..producers)
            .map(|producer| {
                let (log, times) = (&log, &times);
                scope.spawn(move || -> Result<(usize, usize)> {
                    let mut own = Vec::new();
                    let mut waiting = std::collections::VecDeque::new();
                    let (mut bytes, mut events) = (0, 0);
                    for batch in data.iter().cycle().skip(producer) {
                        if bytes >= total / producers {
                            break;
                        }
                        bytes += batch.values().len();
                        events += batch.len();
                        waiting.push_back((Instant::now(), log.append(part(producer, batch))?));
                        if waiting.len() == under_way
                            && let Some((begun, ack)) = waiting.pop_front()
                        {
                            ack.wait()?;
                            own.push(begun.elapsed());
                        }
                    }
                    for (begun, ack) in waiting {
                        ack.wait()?;
                        own.push(begun.elapsed());
                    }
                    times
                        .lock()
                        .map_err(|_| anyhow::anyhow!("a producer failed"))?
                        .extend(own);
                    Ok((bytes, events))
                })
            })
            .collect();
        for producer in producers {
            let (b, e) = producer.join().map_err(|_| anyhow::anyhow!("a producer failed"))??;
            bytes += b;
            events += e;
        }
        anyhow::Ok(())
    })?;
    let (wall, processor) = (watch.seconds(), watch.processor_seconds());
    drop(log);
    let mut times = times.into_inner()?;
    println!(
        "{name:<8}{producers:>10}{:>10.0}{:>12.0}{:>11.0}%{:>11.2}{:>11.1}{:>11.1}",
        bytes as f64 / wall / 1e6,
        events as f64 / wall,
        // Every stored byte goes into the WAL and then into the file.
        2.0 * stored(directory) as f64 / wall / 1e6 / disk * 100.0,
        processor / (bytes as f64 / 1e9),
        millis(percentile(&mut times, 0.5)),
        millis(percentile(&mut times, 0.99)),
    );
    Ok(())
}

fn commit_latency(directory: &Path, producers: usize) -> Result<()> {
    const APPENDS: usize = 300;
    let log = fresh(directory, producers as u32)?;
    let record = &dense(1, 3)[0];
    let watch = Stopwatch::start();
    let mut times = Vec::new();
    thread::scope(|scope| {
        let producers: Vec<_> = (0..producers)
            .map(|producer| {
                let log = &log;
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut times = Vec::new();
                    for _ in 0..APPENDS {
                        let mut builder = BatchBuilder::new();
                        builder.push(None, record, 0, &[])?;
                        let begun = Instant::now();
                        log.append(part(producer, &builder.finish()))?.wait()?;
                        times.push(begun.elapsed());
                    }
                    Ok(times)
                })
            })
            .collect();
        for producer in producers {
            times.extend(producer.join().map_err(|_| anyhow::anyhow!("a producer failed"))??);
        }
        anyhow::Ok(())
    })?;
    println!(
        "  {producers:>2} producers: {:>6.0} appends/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} us cpu each",
        times.len() as f64 / watch.seconds(),
        millis(percentile(&mut times, 0.5)),
        millis(percentile(&mut times, 0.99)),
        watch.processor_seconds() / times.len() as f64 * 1e6,
    );
    Ok(())
}

/// Reads a partition from an offset to its end; gives the bytes of the values.
fn drain(log: &SqliteLog, from: u64) -> Result<usize> {
    let partition = TopicPartition::new("events", 0);
    let end = log.offsets(&partition)?.end;
    let mut reader = log.read(vec![(partition, from)])?;
    let (mut bytes, mut position) = (0, from);
    while position < end {
        let fetched = reader.poll(Duration::from_secs(10))?.context("records are missing")?;
        position = fetched.next_offset();
        bytes += black_box(fetched.batch.values()).len();
    }
    Ok(bytes)
}

fn read(directory: &Path, data: &[Batch], total: usize) -> Result<()> {
    let log = fresh(directory, 1)?;
    let mut written = 0;
    let mut offsets = Vec::new();
    for batch in data.iter().cycle() {
        if written >= total {
            break;
        }
        written += batch.values().len();
        offsets.extend(log.append(part(0, batch))?.wait()?);
    }
    // The last 32 MiB are in memory.
    let recent = offsets[offsets.len() - 32];
    let watch = Stopwatch::start();
    let mut bytes = 0;
    for _ in 0..1000 {
        bytes += drain(&log, recent)?;
    }
    println!(
        "  just committed, from memory: {:>8.0} MB/s (batches are handed over, not copied)",
        rate(bytes, &watch)
    );
    drop(log);
    let log = SqliteLog::open(directory)?;
    for _ in 0..2 {
        let watch = Stopwatch::start();
        let bytes = drain(&log, 0)?;
        let processor = watch.processor_seconds() / (bytes as f64 / 1e9);
        println!(
            "  from the file:               {:>8.0} MB/s, {processor:.2} cpu s/GB",
            rate(bytes, &watch)
        );
    }
    Ok(())
}

fn delivery(directory: &Path, batch: &Batch) -> Result<()> {
    const PRODUCERS: usize = 4;
    const APPENDS: u32 = 800;
    let log = fresh(directory, PRODUCERS as u32)?;
    let other = SqliteLog::open_read_only(directory)?;
    let small = batch.slice(0..62);
    let from = || {
        (0..PRODUCERS as u32)
            .map(|partition| (TopicPartition::new("events", partition), 0))
            .collect()
    };
    let expected = PRODUCERS * APPENDS as usize;
    // When each append was durable and when a reader had it, by partition and offset.
    type Arrivals = Vec<((u32, u64), Instant)>;
    let arrivals = |mut reader: Box<dyn rechka_log::Reader>| -> Result<Arrivals> {
        let mut arrivals = Vec::new();
        while arrivals.len() < expected {
            let fetched = reader.poll(Duration::from_secs(60))?.context("records are missing")?;
            arrivals.push(((fetched.from.partition, fetched.base_offset), Instant::now()));
        }
        Ok(arrivals)
    };
    let (mut committed, same, another) = thread::scope(|scope| -> Result<_> {
        let same = log.read(from())?;
        let another = other.read(from())?;
        let same = scope.spawn(|| arrivals(same));
        let another = scope.spawn(|| arrivals(another));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (log, small) = (&log, &small);
                scope.spawn(move || -> Result<Arrivals> {
                    let begun = Instant::now() + Duration::from_micros(2500) * producer as u32;
                    let mut committed = Vec::new();
                    for number in 0..APPENDS {
                        let due = begun + Duration::from_millis(10) * number;
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        let offset = log.append(part(producer, small))?.wait()?[0];
                        committed.push(((producer as u32, offset), Instant::now()));
                    }
                    Ok(committed)
                })
            })
            .collect();
        let mut committed = Vec::new();
        for producer in producers {
            committed.extend(producer.join().map_err(|_| anyhow::anyhow!("a producer failed"))??);
        }
        let failed = |_| anyhow::anyhow!("a reader failed");
        Ok((
            committed,
            same.join().map_err(failed)??,
            another.join().map_err(failed)??,
        ))
    })?;
    committed.sort_unstable();
    for (name, mut arrivals) in [("in the same process:", same), ("through the file:   ", another)] {
        arrivals.sort_unstable();
        let late = committed
            .iter()
            .zip(&arrivals)
            .map(|((_, durable), (_, had))| had.saturating_duration_since(*durable));
        let mut times: Vec<_> = late.collect();
        println!(
            "  commit -> reader {name} p50 {:.3} ms, p99 {:.3} ms, longest {:.3} ms",
            millis(percentile(&mut times, 0.5)),
            millis(percentile(&mut times, 0.99)),
            millis(percentile(&mut times, 1.0)),
        );
    }
    Ok(())
}
