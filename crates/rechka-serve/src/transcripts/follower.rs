//! The thread that reads what the recogniser writes.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rechka_log::{Fetched, Log, LogError, Offset, Reader, TopicPartition};
use rechka_types::{Partial, Transcript, topics};
use tokio::sync::mpsc;

use super::Catalog;
use crate::session::{Job, SESSIONS};

/// How often the thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long the thread waits after an error of the log before it reads on.
const RETRY: Duration = Duration::from_secs(1);

/// Follows transcripts from the beginning, partials from now on, and what gateways say of their sessions.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    /// Whether the last attempt to read has failed.
    failing: Arc<AtomicBool>,
    /// Where the transcripts ended when the thread began.
    behind: Vec<Offset>,
    catalog: Arc<Catalog>,
}

impl Follower {
    /// Starts the thread; it ends a moment after it is told to stop. `sessions_from`: the first record of a session that was not read;
    /// `jobs`: who is told of them.
    pub fn start(
        log: Arc<dyn Log>,
        catalog: Arc<Catalog>,
        partitions: u32,
        sessions_from: Offset,
        jobs: mpsc::Sender<Job>,
    ) -> std::result::Result<(Self, thread::JoinHandle<()>), crate::ServeError> {
        let mut from = vec![(TopicPartition::new(SESSIONS, 0), sessions_from)];
        let mut behind = Vec::new();
        let mut positions = Vec::new();
        for number in 0..partitions {
            let transcripts = TopicPartition::new(topics::TRANSCRIPTS, number);
            let kept = log.offsets(&transcripts)?;
            behind.push(kept.end);
            positions.push(kept.start);
            from.push((transcripts, kept.start));
            let partials = TopicPartition::new(topics::PARTIALS, number);
            let now = log.offsets(&partials)?.end;
            from.push((partials, now));
        }
        catalog.set_positions(positions);
        let stop = Arc::new(AtomicBool::new(false));
        let failing = Arc::new(AtomicBool::new(false));
        let reader = log.read(from)?;
        let (stopped, fails, shared) = (stop.clone(), failing.clone(), catalog.clone());
        let thread = thread::Builder::new()
            .name("gateway-follower".into())
            .spawn(move || follow(reader, &shared, &jobs, &stopped, &fails))?;
        let follower = Self {
            stop,
            failing,
            behind,
            catalog,
        };
        Ok((follower, thread))
    }

    /// Whether the thread can read, and has read what was there when it began.
    pub fn ready(&self) -> std::result::Result<(), String> {
        if self.failing.load(Ordering::Relaxed) {
            return Err("the transcripts can't be read".into());
        }
        let positions = self.catalog.positions();
        let missing: u64 = self
            .behind
            .iter()
            .zip(positions)
            .map(|(end, at)| end.saturating_sub(at))
            .sum();
        if missing > 0 {
            return Err(format!("{missing} old segments are still to be read"));
        }
        Ok(())
    }

    /// Asks the thread to end; it does within a moment.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

fn follow(
    mut reader: Box<dyn Reader>,
    catalog: &Catalog,
    jobs: &mpsc::Sender<Job>,
    stop: &AtomicBool,
    failing: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let fetched = reader.poll(LOOK);
        let fails = matches!(&fetched, Err(error) if !matches!(error, LogError::Damaged { .. }));
        failing.store(fails, Ordering::Relaxed);
        match fetched {
            Ok(Some(fetched)) if &*fetched.from.topic == topics::TRANSCRIPTS => take_transcripts(&fetched, catalog),
            Ok(Some(fetched)) if &*fetched.from.topic == SESSIONS => take_sessions(&fetched, jobs),
            Ok(Some(fetched)) => take_partials(&fetched, catalog),
            Ok(None) => {}
            Err(LogError::Damaged { from, offsets, reason }) => {
                tracing::error!(%from, ?offsets, reason, "damaged records are left out");
                if &*from.topic == topics::TRANSCRIPTS {
                    catalog.transcripts(from.partition, offsets.end, Vec::new());
                }
            }
            Err(error @ LogError::Closed) => {
                tracing::error!(%error, "the transcripts can't be followed any more");
                return;
            }
            // Disks recover, and what can't be read in one partition must not keep the others from being heard.
            Err(error) => {
                tracing::warn!(%error, "the transcripts can't be read; trying again");
                thread::sleep(RETRY);
            }
        }
    }
}

fn take_transcripts(fetched: &Fetched, catalog: &Catalog) {
    let mut segments = Vec::with_capacity(fetched.batch.len());
    for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
        match serde_json::from_slice::<Transcript>(record.value) {
            // Segments are found again by their key: it must be the session.
            Ok(segment) if record.key == Some(segment.session.as_bytes()) => {
                segments.push((offset, record.timestamp, Arc::new(segment)));
            }
            Ok(segment) => tracing::warn!(
                offset,
                session = segment.session,
                "a transcript has another key than its session"
            ),
            Err(error) => tracing::warn!(offset, %error, "a transcript can't be read"),
        }
    }
    catalog.transcripts(fetched.from.partition, fetched.next_offset(), segments);
}

fn take_sessions(fetched: &Fetched, jobs: &mpsc::Sender<Job>) {
    for record in fetched.batch.iter() {
        match serde_json::from_slice(record.value) {
            // Nobody hears it any more when the gateway stops.
            Ok(session) => drop(jobs.blocking_send(Job::Heard(session))),
            Err(error) => tracing::warn!(%error, "a session's record can't be read"),
        }
    }
}

fn take_partials(fetched: &Fetched, catalog: &Catalog) {
    for record in fetched.batch.iter() {
        if let Ok(partial) = serde_json::from_slice::<Partial>(record.value) {
            catalog.partial(partial, record.timestamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use rechka_log::{BatchBuilder, Result};

    use super::*;

    /// Says what it is given, from the last to the first; then that the log is closed.
    struct Script(Vec<Result<Option<Fetched>>>);

    impl Reader for Script {
        fn poll(&mut self, _wait: Duration) -> Result<Option<Fetched>> {
            self.0.pop().unwrap_or(Err(LogError::Closed))
        }

        fn is_at_end(&self) -> bool {
            self.0.is_empty()
        }
    }

    #[test]
    fn captions_go_on_after_an_error_of_the_disk() {
        assert_positions_after(LogError::Storage("unreadable".into()), 0, 1);
    }

    #[test]
    fn captions_go_on_behind_damaged_records() {
        let damaged = LogError::Damaged {
            from: TopicPartition::new(topics::TRANSCRIPTS, 0),
            offsets: 0..7,
            reason: "its checksum differs".into(),
        };
        assert_positions_after(damaged, 7, 8);
    }

    /// Follows what ends in `error` and then a segment at `offset`.
    fn assert_positions_after(error: LogError, offset: Offset, position: Offset) {
        let segment = r#"{"session":"a","segment":0,"revision":0,"kind":"speech","start":0,"end":1,"text":"one"}"#;
        let mut batch = BatchBuilder::new();
        batch.push(Some(b"a"), segment.as_bytes(), 0, &[]).unwrap();
        let fetched = Fetched {
            from: TopicPartition::new(topics::TRANSCRIPTS, 0),
            base_offset: offset,
            batch: batch.finish(),
        };
        let script = Script(vec![Ok(Some(fetched)), Err(error)]);
        let catalog = Catalog::new(1, 10);
        let failing = AtomicBool::new(false);
        let (jobs, _) = mpsc::channel(1);
        follow(Box::new(script), &catalog, &jobs, &AtomicBool::new(false), &failing);
        assert_eq!(catalog.positions(), [position]);
        assert_eq!(catalog.list(10, None)[0].segments, 1);
        assert!(failing.into_inner(), "it is over, and says so");
    }
}
