//! From the visitors into the log: the past at once, the present as it happens.
use std::{
    collections::BTreeMap,
    iter::Peekable,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use rechka_log::{Append, BatchBuilder, Log, TopicPartition, TopicSpec, partition_for_key};

use super::{
    products::products,
    visitors::{Arrival, TOPICS, Visitors},
};

/// Partitions of a topic that is not there yet.
const PARTITIONS: u32 = 2;
/// Records appended at a time.
const CHUNK: usize = 1_000;
/// From one append of live records to the next.
const TICK: Duration = Duration::from_millis(50);

/// Appends `records` that arrived until now, at about `rate` a second of their own time, as fast as the log takes them.
pub fn backfill(log: &dyn Log, seed: u64, rate: f64, records: usize) -> Result<()> {
    let feed = Feed::new(log)?;
    let start = now() - (records as f64 / rate * 1_000.0) as i64;
    let mut visitors = Visitors::new(products()?, seed, start, rate).take(records).peekable();
    while visitors.peek().is_some() {
        feed.append(visitors.by_ref().take(CHUNK))?;
    }
    Ok(())
}

/// Appends about `rate` records a second as they arrive, until `stop`: first those of the last `history` at once.
pub fn live(log: &dyn Log, seed: u64, rate: f64, history: Duration, stop: &AtomicBool) -> Result<()> {
    let feed = Feed::new(log)?;
    let mut visitors = Visitors::new(products()?, seed, now() - history.as_millis() as i64, rate).peekable();
    while !stop.load(Ordering::Relaxed) {
        feed.append(arrived(&mut visitors, now()))?;
        if visitors.peek().is_some_and(|next| next.at > now()) {
            thread::sleep(TICK);
        }
    }
    Ok(())
}

/// What has arrived by now, at most a chunk.
fn arrived(visitors: &mut Peekable<Visitors>, now: i64) -> impl Iterator<Item = Arrival> {
    std::iter::from_fn(move || visitors.next_if(|arrival| arrival.at <= now)).take(CHUNK)
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// The topics of the shop.
struct Feed<'a> {
    log: &'a dyn Log,
    partitions: BTreeMap<&'static str, u32>,
}

impl<'a> Feed<'a> {
    fn new(log: &'a dyn Log) -> Result<Self> {
        let there = log.topics()?;
        let mut partitions = BTreeMap::new();
        for name in TOPICS {
            let count = match there.iter().find(|topic| &*topic.name == name) {
                Some(topic) => topic.partitions,
                None => {
                    log.create_topic(&TopicSpec::new(name, PARTITIONS))?;
                    PARTITIONS
                }
            };
            partitions.insert(name, count);
        }
        Ok(Self { log, partitions })
    }

    /// Appends all at once, durably.
    fn append(&self, arrivals: impl Iterator<Item = Arrival>) -> Result<()> {
        let mut builders = BTreeMap::<(&'static str, u32), BatchBuilder>::new();
        for arrival in arrivals {
            let key = arrival.user.to_string();
            let partition = partition_for_key(key.as_bytes(), self.partitions[arrival.topic]);
            let builder = builders.entry((arrival.topic, partition)).or_default();
            builder.push(Some(key.as_bytes()), arrival.value.as_bytes(), arrival.at, &[])?;
        }
        if builders.is_empty() {
            return Ok(());
        }
        let appends = builders.into_iter().map(|((topic, partition), builder)| Append {
            to: TopicPartition::new(topic, partition),
            batch: builder.finish(),
        });
        self.log.append(appends.collect())?.wait()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rechka_log::SqliteLog;

    use super::{
        super::visitors::{EVENTS, PURCHASES},
        *,
    };

    #[test]
    fn a_backfill_puts_every_record_into_its_topic() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        backfill(&log, 1, 100.0, 12_000).unwrap();
        let count = |topic: &str| -> u64 {
            let ends =
                (0..PARTITIONS).map(|partition| log.offsets(&TopicPartition::new(topic, partition)).unwrap().end);
            ends.sum()
        };
        assert_eq!(count(EVENTS) + count(PURCHASES), 12_000);
        assert!(count(PURCHASES) > 200);
    }
}
