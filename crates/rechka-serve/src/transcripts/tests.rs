use std::{path::Path, sync::Arc, time::Duration};

use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition};
use rechka_types::{Kind, Partial, Transcript, topics};

use super::*;
use crate::reading::Library;

const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    log: Arc<dyn Log>,
    catalog: Arc<Catalog>,
    follower: Follower,
}

impl Bench {
    fn new(directory: &Path, listed: usize) -> Self {
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory).unwrap());
        crate::topics::ensure(&*log, 1).unwrap();
        let catalog = Arc::new(Catalog::new(1, listed));
        let (jobs, _) = tokio::sync::mpsc::channel(1);
        let (follower, _) = Follower::start(log.clone(), catalog.clone(), 1, 0, jobs).unwrap();
        Self { log, catalog, follower }
    }

    fn listen(&self, session: &str, room: usize) -> Subscription {
        Subscription::new(
            session,
            None,
            room,
            self.catalog.clone(),
            Library::new(self.log.clone(), 2),
        )
    }

    fn write(&self, segments: &[Transcript]) {
        let mut batch = BatchBuilder::new();
        for segment in segments {
            let value = serde_json::to_vec(segment).unwrap();
            batch
                .push(Some(segment.session.as_bytes()), &value, segment.start as i64, &[])
                .unwrap();
        }
        let to = TopicPartition::new(topics::TRANSCRIPTS, 0);
        let append = Append {
            to,
            batch: batch.finish(),
        };
        let offset = self.log.append(vec![append]).unwrap().wait().unwrap()[0];
        let end = offset + segments.len() as u64;
        while self.catalog.positions()[0] < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn segment(session: &str, number: u64) -> Transcript {
    Transcript {
        session: session.into(),
        segment: number,
        revision: 0,
        kind: Kind::Speech,
        start: number as f64,
        end: number as f64 + 1.0,
        text: format!("word {number}"),
        language: None,
        words: vec![],
        reason: None,
        provenance: None,
    }
}

fn partial(session: &str, segment: u64, tentative: &str) -> Partial {
    Partial {
        session: session.into(),
        segment,
        start: segment as f64,
        end: segment as f64 + 0.5,
        committed: String::new(),
        tentative: tentative.into(),
    }
}

async fn next_final(subscription: &mut Subscription) -> u64 {
    match tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .unwrap()
        .unwrap()
    {
        Heard::Final(segment) => segment.segment,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_listener_gets_every_final_and_only_the_last_partial() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 10);
    bench.write(&[segment("a", 0)]);
    let mut slow = bench.listen("a", 3);
    assert_eq!(next_final(&mut slow).await, 0);
    // Far more than there is room for, in many commits, another session's between them, partials now and then.
    for number in 1..300 {
        bench.write(&[segment("a", number), segment("b", number)]);
        bench.catalog.partial(partial("a", number + 1, &number.to_string()), 0);
    }
    for number in 1..300 {
        assert_eq!(next_final(&mut slow).await, number);
    }
    match slow.next().await.unwrap() {
        Heard::Partial(partial) => assert_eq!(partial.tentative, "299"),
        other => panic!("{other:?}"),
    }
    // It keeps up again.
    bench.write(&[segment("a", 300)]);
    assert_eq!(next_final(&mut slow).await, 300);
}

#[tokio::test]
async fn partials_of_segments_that_are_final_are_not_heard() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 10);
    bench.write(&[segment("a", 0)]);
    let mut listener = bench.listen("a", 10);
    assert_eq!(next_final(&mut listener).await, 0);
    bench.catalog.partial(partial("a", 0, "too late"), 0);
    bench.catalog.partial(partial("a", 1, "replaced"), 0);
    bench.write(&[segment("a", 1)]);
    assert_eq!(next_final(&mut listener).await, 1);
    bench.write(&[segment("a", 2)]);
    assert_eq!(next_final(&mut listener).await, 2);
}

#[tokio::test]
async fn a_listener_that_is_interrupted_all_the_time_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 10);
    let segments: Vec<Transcript> = (0..500).map(|number| segment("a", number)).collect();
    bench.write(&segments);
    let mut listener = bench.listen("a", 10);
    let mut heard = Vec::new();
    while heard.len() < segments.len() {
        tokio::select! {
            biased;
            next = listener.next() => match next.unwrap() {
                Heard::Final(segment) => heard.push(segment.segment),
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(heard.iter().copied().eq(0..500), "{heard:?}");
}

#[test]
fn a_listener_reads_only_where_its_session_is() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 10);
    bench.write(&[segment("b", 0), segment("a", 0), segment("b", 1), segment("a", 1)]);
    bench.write(&[segment("b", 2), segment("b", 3)]);
    let queue = Arc::new(subscription::Queue::new(10));
    assert_eq!(bench.catalog.listen("a", None, &queue), 1..4);
    assert!(bench.catalog.listen("new", None, &queue).is_empty());
}

#[test]
fn a_listener_that_comes_back_reads_only_what_it_has_missed() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 10);
    let segments: Vec<_> = (0..50).flat_map(|i| [segment("a", i), segment("b", i)]).collect();
    bench.write(&segments);
    let queue = Arc::new(subscription::Queue::new(10));
    assert_eq!(bench.catalog.listen("a", Some(47), &queue), 95..99);
    assert!(bench.catalog.listen("a", Some(49), &queue).is_empty());
    // What is long ago is read from the beginning, and so is what never was.
    assert_eq!(bench.catalog.listen("a", Some(3), &queue), 0..99);
    assert_eq!(bench.catalog.listen("a", Some(70), &queue), 0..99);
}

#[test]
fn the_catalog_leaves_out_the_oldest_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 3);
    for number in 0..10 {
        bench.write(&[segment(&format!("session-{number}"), number)]);
    }
    let names: Vec<String> = bench
        .catalog
        .list(10, None)
        .into_iter()
        .map(|summary| summary.session)
        .collect();
    assert_eq!(names, ["session-9", "session-8", "session-7"]);
    assert!(bench.catalog.stored("session-0").is_none());
    bench.follower.ready().unwrap();
}

#[test]
fn records_that_are_no_transcripts_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new(directory.path(), 10);
    let mut batch = BatchBuilder::new();
    let good = serde_json::to_vec(&segment("a", 0)).unwrap();
    for (key, value) in [
        (Some(&b"a"[..]), &b"{"[..]),
        (None, &good),
        (Some(b"b"), &good),
        (Some(b"\xff"), b"\xff"),
        (Some(b"a"), &good),
    ] {
        batch.push(key, value, 0, &[]).unwrap();
    }
    let to = TopicPartition::new(topics::TRANSCRIPTS, 0);
    let append = Append {
        to,
        batch: batch.finish(),
    };
    bench.log.append(vec![append]).unwrap().wait().unwrap();
    while bench.catalog.positions()[0] < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let list = bench.catalog.list(10, None);
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].session.as_str(), list[0].segments), ("a", 1));
}
