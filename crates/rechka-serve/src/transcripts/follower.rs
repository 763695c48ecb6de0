//! The thread that reads what the recogniser writes.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rechka_log::{Fetched, Log, Offset, Result, TopicPartition};
use rechka_types::{Partial, Transcript, topics};

use super::Catalog;

/// How often the thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(100);

/// Follows transcripts from the beginning, partials from now on.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    /// Where the transcripts ended when the thread began.
    behind: Vec<Offset>,
    catalog: Arc<Catalog>,
}

impl Follower {
    /// Starts the thread; it ends a moment after it is told to stop.
    pub fn start(
        log: Arc<dyn Log>,
        catalog: Arc<Catalog>,
        partitions: u32,
    ) -> std::result::Result<(Self, thread::JoinHandle<()>), crate::ServeError> {
        let mut from = Vec::new();
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
        let ended = Arc::new(AtomicBool::new(false));
        let (stopped, has_ended, shared) = (stop.clone(), ended.clone(), catalog.clone());
        let thread = thread::Builder::new().name("gateway-follower".into()).spawn(move || {
            if let Err(error) = follow(&*log, from, &shared, &stopped) {
                tracing::error!(%error, "the transcripts can't be followed any more");
            }
            has_ended.store(true, Ordering::Relaxed);
        })?;
        let follower = Self {
            stop,
            ended,
            behind,
            catalog,
        };
        Ok((follower, thread))
    }

    /// Whether the thread runs, and has read what was there when it began.
    pub fn ready(&self) -> std::result::Result<(), String> {
        if self.ended.load(Ordering::Relaxed) {
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

fn follow(log: &dyn Log, from: Vec<(TopicPartition, Offset)>, catalog: &Catalog, stop: &AtomicBool) -> Result<()> {
    let mut reader = log.read(from)?;
    while !stop.load(Ordering::Relaxed) {
        let Some(fetched) = reader.poll(LOOK)? else {
            continue;
        };
        if &*fetched.from.topic == topics::TRANSCRIPTS {
            take_transcripts(&fetched, catalog);
        } else {
            take_partials(&fetched, catalog);
        }
    }
    Ok(())
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

fn take_partials(fetched: &Fetched, catalog: &Catalog) {
    for record in fetched.batch.iter() {
        if let Ok(partial) = serde_json::from_slice::<Partial>(record.value) {
            catalog.partial(partial, record.timestamp);
        }
    }
}
