//! Watches how long partitions of a result are silent. Undisturbed, each has rows in every epoch.
use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use rechka_log::{Log, LogError, Reader, TopicPartition};

use crate::{disturbances::Disturbance, pipeline::PARTITIONS};

/// Shorter ones are the pace of the epochs.
const SHORTEST: Duration = Duration::from_millis(300);
/// A silence that begins so soon after a disturbance comes of it.
const CAUSE: Duration = Duration::from_secs(2);

/// Nothing came from one partition.
#[derive(Clone, Copy)]
struct Silence {
    begin: Instant,
    end: Instant,
}

/// The silences of all partitions.
pub struct Silences(Vec<Silence>);

impl Silences {
    /// How long the output of the partition that waited longest was silent because of it.
    pub fn after(&self, disturbance: &Disturbance) -> Duration {
        let at = disturbance.at;
        let caused = self
            .0
            .iter()
            .filter(|silence| silence.begin <= at + CAUSE && silence.end > at);
        caused
            .map(|silence| silence.end - silence.begin.max(at))
            .max()
            .unwrap_or_default()
    }
}

/// A thread that reads the result.
pub struct Watch<'scope> {
    thread: ScopedJoinHandle<'scope, Silences>,
    heard: Arc<(Mutex<usize>, Condvar)>,
}

impl<'scope> Watch<'scope> {
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        log: Arc<dyn Log>,
        topic: String,
        stop: &'env AtomicBool,
    ) -> Self {
        let heard = Arc::new((Mutex::new(0), Condvar::new()));
        let tell = Arc::clone(&heard);
        let thread = scope.spawn(move || {
            let Some(mut reader) = reader(&*log, &topic, stop) else {
                return Silences(Vec::new());
            };
            let mut last = vec![None; PARTITIONS as usize];
            let mut silences = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let Some(fetched) = reader.poll(Duration::from_millis(100)).unwrap() else {
                    continue;
                };
                let end = Instant::now();
                let begin = last[fetched.from.partition as usize].replace(end);
                let silence = begin.map(|begin| Silence { begin, end });
                silences.extend(silence.filter(|silence| silence.end - silence.begin > SHORTEST));
                *tell.0.lock().unwrap() = last.iter().flatten().count();
                tell.1.notify_all();
            }
            Silences(silences)
        });
        Self { thread, heard }
    }

    /// Until every partition was heard.
    pub fn wait_for_all(&self, patience: Duration) {
        let (heard, changed) = &*self.heard;
        let few = |heard: &mut usize| *heard < PARTITIONS as usize;
        let (heard, waited) = changed
            .wait_timeout_while(heard.lock().unwrap(), patience, few)
            .unwrap();
        assert!(
            !waited.timed_out(),
            "only {heard} of {PARTITIONS} partitions have a result after {patience:?}"
        );
    }

    pub fn join(self) -> Silences {
        self.thread.join().expect("the result can be read")
    }
}

/// A reader of all partitions, once a worker has made the topic.
fn reader(log: &dyn Log, topic: &str, stop: &AtomicBool) -> Option<Box<dyn Reader>> {
    while !stop.load(Ordering::Relaxed) {
        let partitions = (0..PARTITIONS).map(|number| (TopicPartition::new(topic, number), 0));
        match log.read(partitions.collect()) {
            Err(LogError::UnknownTopic(_)) => thread::sleep(Duration::from_millis(100)),
            reader => return Some(reader.unwrap()),
        }
    }
    None
}

#[test]
fn a_silence_belongs_to_the_disturbance_that_it_follows() {
    let begun = Instant::now();
    let at = |seconds| begun + Duration::from_secs(seconds);
    let silences = Silences(vec![
        Silence {
            begin: at(9),
            end: at(13),
        },
        Silence {
            begin: at(11),
            end: at(17),
        },
        Silence {
            begin: at(20),
            end: at(29),
        },
    ]);
    let after = |seconds| {
        silences.after(&Disturbance {
            kind: crate::disturbances::KINDS[0],
            at: at(seconds),
        })
    };
    assert_eq!(after(10), Duration::from_secs(6));
    assert_eq!(after(5), Duration::ZERO);
    assert_eq!(after(16), Duration::from_secs(1));
}
