//! Events at a steady pace, and what arithmetic says of them.
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Append, BatchBuilder, Log, TopicPartition};

use crate::{
    pipeline::{PARTITIONS, Pipeline},
    setup::Setup,
};

/// Event `id` is of user `id % USERS`.
const USERS: u64 = 101;
/// In whose name the last windows are closed.
const NOBODY: i64 = -1;
/// Events are appended so often.
const TICK: Duration = Duration::from_millis(50);
/// Events of one append, at most: after an outage more have gathered.
const MOST_AT_ONCE: u64 = 20_000;
/// How long events go on when the disturbances are over.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// The events of a run: event `id` happens `id / rate` seconds after 1970 begins.
pub struct Events {
    topic: String,
    rate: u64,
    number: u64,
    sent: AtomicU64,
}

impl Events {
    pub fn new(setup: &Setup, pipeline: &Pipeline) -> Self {
        Self {
            topic: pipeline.clicks(),
            rate: setup.rate,
            number: setup.rate * (setup.duration + AFTERWARDS).as_secs(),
            sent: AtomicU64::new(0),
        }
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// All partitions get theirs in one append: none runs ahead of another.
    pub fn feed(&self, log: &dyn Log, stop: &AtomicBool) {
        let begun = Instant::now();
        let mut sent = 0;
        while sent < self.number && !stop.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_micros() as u64 * self.rate / 1_000_000).min(self.number);
            let until = due.min(sent + MOST_AT_ONCE);
            if until > sent {
                self.append(log, (sent..until).map(|id| (id % u64::from(PARTITIONS), self.json(id))));
                sent = until;
                self.sent.store(sent, Ordering::Relaxed);
            }
            if due == until {
                thread::sleep(TICK);
            }
        }
        let end = self.millis(self.number) + 60_000;
        let last = format!(r#"{{"id":0,"user_id":{NOBODY},"ts":{end}}}"#);
        self.append(log, (0..PARTITIONS).map(|partition| (partition.into(), last.clone())));
    }

    fn append(&self, log: &dyn Log, events: impl Iterator<Item = (u64, String)>) {
        let mut batches: Vec<BatchBuilder> = (0..PARTITIONS).map(|_| BatchBuilder::new()).collect();
        for (partition, json) in events {
            batches[partition as usize].push(None, json.as_bytes(), 0, &[]).unwrap();
        }
        let filled = (0..).zip(batches).filter(|(_, batch)| !batch.is_empty());
        let appends = filled.map(|(partition, batch)| Append {
            to: TopicPartition::new(self.topic.as_str(), partition),
            batch: batch.finish(),
        });
        log.append(appends.collect()).unwrap().wait().unwrap();
    }

    fn millis(&self, id: u64) -> u64 {
        id * 1000 / self.rate
    }

    fn json(&self, id: u64) -> String {
        format!(r#"{{"id":{id},"user_id":{},"ts":{}}}"#, id % USERS, self.millis(id))
    }

    /// The rows of the windows, each once.
    pub fn counts(&self) -> Vec<String> {
        let windows = self.number.div_ceil(self.rate);
        let rows = (0..windows).flat_map(|window| {
            let ids = window * self.rate..((window + 1) * self.rate).min(self.number);
            let start = format!(
                "1970-01-01T{:02}:{:02}:{:02}",
                window / 3600,
                window / 60 % 60,
                window % 60
            );
            (0..USERS).filter_map(move |user| {
                let (n, total) = sum(ids.clone(), user);
                (n > 0).then(|| format!(r#"{{"user_id":{user},"window_start":"{start}","n":{n},"total":{total}}}"#))
            })
        });
        rows.collect()
    }

    /// The rows of the view.
    pub fn totals(&self) -> Vec<String> {
        let row = |user: i64, n: u64, total: u64| format!(r#"{{"user_id":{user},"n":{n},"total":{total}}}"#);
        let users = (0..USERS).map(|user| {
            let (n, total) = sum(0..self.number, user);
            row(user as i64, n, total)
        });
        users.chain([row(NOBODY, PARTITIONS.into(), 0)]).collect()
    }

    /// What was really appended: tells an event that was appended twice from one that was counted twice.
    pub fn appended(&self, values: &[(String, String)]) -> String {
        let mut ids: Vec<u64> = Vec::with_capacity(values.len());
        for (_, value) in values {
            let event: serde_json::Value = serde_json::from_str(value).unwrap();
            if event["user_id"] != NOBODY {
                ids.push(event["id"].as_u64().unwrap());
            }
        }
        let found = ids.len();
        ids.sort_unstable();
        ids.dedup();
        let (distinct, number) = (ids.len(), self.number);
        format!("the input holds {found} events, {distinct} different ones, of {number}")
    }
}

/// Number and sum of those numbers that belong to a user.
fn sum(ids: std::ops::Range<u64>, user: u64) -> (u64, u64) {
    let first = ids.start + (user + USERS - ids.start % USERS) % USERS;
    let mine = (first..ids.end).step_by(USERS as usize);
    (mine.clone().count() as u64, mine.sum())
}
