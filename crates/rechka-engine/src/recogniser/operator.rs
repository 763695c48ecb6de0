//! The operator: records to sessions, what is due to the model, what they say to the log.
mod records;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use rechka_log::{Ack, Fetched, Log, LogError, Offset, Partition, TopicPartition};
use rechka_speech::whisper::Request;

use super::{
    Metrics,
    config::Config,
    keyless,
    outbox::Outbox,
    report::Report,
    slot::{CatchUp, Sessions, Slot},
    stored,
    stream::Stream,
    transcripts::{partial, transcript},
};
use crate::{Outcome, Processor, Result, statistics::Counts};

/// Samples per second.
const RATE: f64 = 16_000.0;

/// Recognises the sessions of its partitions.
pub(crate) struct Recognition {
    log: Arc<dyn Log>,
    config: Config,
    metrics: Arc<Metrics>,
    report: Option<Report>,
    /// When the first record of the epoch came.
    epoch: Option<Instant>,
    partitions: BTreeMap<Partition, Sessions>,
    outbox: Outbox,
    /// Segments in the outbox: partition, and timestamp of the audio.
    finals: Vec<(Partition, i64)>,
    partials: Vec<Ack>,
    /// The session after which the next batch begins, so that all have their turn.
    turn: (Partition, String),
}

impl Recognition {
    pub fn new(log: Arc<dyn Log>, config: Config, metrics: Arc<Metrics>, report: Option<Report>) -> Self {
        Recognition {
            outbox: Outbox::new(config.query.clone(), config.topics.clone()),
            log,
            config,
            metrics,
            report,
            epoch: None,
            partitions: BTreeMap::new(),
            finals: Vec::new(),
            partials: Vec::new(),
            turn: (0, String::new()),
        }
    }

    /// Takes a partition in which nothing was heard yet.
    pub fn begin(&mut self, partition: Partition, next: Offset) {
        self.partitions.insert(partition, Sessions::new(next, BTreeMap::new()));
    }

    /// No more audio comes in this partition: what is still being said there is complete.
    pub fn end(&mut self, partition: Partition) {
        if let Some(sessions) = self.partitions.get_mut(&partition) {
            sessions.at_end = true;
        }
    }

    /// Whether all that is said in all partitions, to their ends, has been recognised.
    pub fn is_complete(&self) -> bool {
        self.partitions.values().all(Sessions::is_worked_off)
    }

    fn slots(&self) -> impl Iterator<Item = (Partition, &String, &Slot)> {
        self.partitions
            .iter()
            .flat_map(|(&partition, sessions)| sessions.open.iter().map(move |(name, slot)| (partition, name, slot)))
    }

    fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.partitions
            .values_mut()
            .flat_map(|sessions| sessions.open.values_mut())
    }

    fn slot_mut(&mut self, partition: Partition, name: &str) -> Option<&mut Slot> {
        self.partitions.get_mut(&partition)?.open.get_mut(name)
    }

    /// Whether what is due of a session completes a segment.
    fn is_last(&self, partition: Partition, name: &str) -> bool {
        let slot = self
            .partitions
            .get(&partition)
            .and_then(|sessions| sessions.open.get(name));
        slot.and_then(|slot| slot.stream.as_ref())
            .is_some_and(|stream| stream.session().is_last_due())
    }

    fn in_memory(&self) -> usize {
        self.slots().filter(|(_, _, slot)| slot.stream.is_some()).count()
    }

    fn max_backlog(&self) -> u64 {
        (self.config.speech.max_backlog.max(1.0) * RATE) as u64
    }

    /// Brings a session into memory if there is room.
    fn wake(&mut self, partition: Partition, name: &str) -> Result<()> {
        if self.slot_mut(partition, name).is_none_or(|slot| slot.stream.is_some()) || !self.has_room() {
            return Ok(());
        }
        let Some(sessions) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        let Some(slot) = sessions.open.get_mut(name) else {
            return Ok(());
        };
        let config = self.config.of(&slot.stored.settings).into();
        slot.stream = Some(Stream::restore(config, (self.config.speech.detector)(), &slot.stored));
        slot.wants_room = false;
        slot.touched = Instant::now();
        if slot.stored.replay < sessions.position {
            let from = TopicPartition::new(Arc::clone(&self.config.topics.audio), partition);
            let reader = self.log.read(vec![(from, slot.stored.replay)])?;
            slot.catch_up = Some(CatchUp::new(reader, name, &slot.stored));
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.in_memory() < self.config.speech.max_sessions.max(1)
    }

    /// Puts the session that was idle longest back into the log. All that sessions said must have been collected.
    fn make_room(&mut self) {
        let enough = self.config.speech.idle;
        let idle = |slot: &&mut Slot| {
            slot.stream.is_some() && slot.catch_up.is_none() && !slot.is_due() && slot.touched.elapsed() >= enough
        };
        if let Some(slot) = self.slots_mut().filter(idle).min_by_key(|slot| slot.touched) {
            slot.hibernate();
        }
    }

    /// Brings sessions into memory that wait for it.
    fn wake_waiting(&mut self) -> Result<()> {
        let waiting = self.slots().filter(|(_, _, slot)| slot.wants_room);
        let mut waiting: Vec<_> = waiting
            .map(|(number, name, slot)| (slot.stored.replay, number, name.clone()))
            .collect();
        waiting.sort();
        for (_, partition, name) in waiting {
            if !self.has_room() {
                self.make_room();
            }
            self.wake(partition, &name)?;
        }
        Ok(())
    }

    /// Completes the sessions of partitions that are at their end, as soon as they have heard all that there is.
    fn complete(&mut self) {
        let now = now();
        let ended = self.partitions.values_mut().filter(|sessions| sessions.at_end);
        for slot in ended.flat_map(|sessions| sessions.open.values_mut()) {
            slot.finish(now);
        }
    }

    /// Gives the model a batch of what is due; true when more is.
    fn decode(&mut self) -> bool {
        let due = self.slots().filter(|(_, _, slot)| slot.is_due());
        let mut due: Vec<(Partition, String)> = due.map(|(partition, name, _)| (partition, name.clone())).collect();
        if due.is_empty() {
            return false;
        }
        let turn = due.partition_point(|session| *session <= self.turn) % due.len();
        due.rotate_left(turn);
        // Somebody waits for the end of what was said; what is still being said goes on anyway.
        due.sort_by_key(|(partition, name)| !self.is_last(*partition, name));
        let more = due.len() > self.config.speech.max_batch.max(1);
        due.truncate(self.config.speech.max_batch.max(1));
        self.turn.clone_from(&due[due.len() - 1]);
        let request = |(partition, name): &(Partition, String)| {
            let slot = self.partitions.get(partition)?.open.get(name)?;
            slot.stream.as_ref()?.session().due()
        };
        let requests: Vec<Request<'_>> = due.iter().filter_map(request).collect();
        let samples: usize = requests.iter().map(|request| request.audio.len()).sum();
        let started = Instant::now();
        let mut results = self.config.model.model.transcribe(&requests).into_iter();
        let metrics = self.metrics.clone();
        metrics
            .decode_microseconds
            .fetch_add(started.elapsed().as_micros() as u64, Relaxed);
        metrics.decoded_samples.fetch_add(samples as u64, Relaxed);
        metrics.batches.fetch_add(1, Relaxed);
        metrics.requests.fetch_add(requests.len() as u64, Relaxed);
        let mut still_due = more;
        for (partition, name) in &due {
            let Some(stream) = self.slot_mut(*partition, name).and_then(|slot| slot.stream.as_mut()) else {
                continue;
            };
            let session = stream.session_mut();
            match results.next().unwrap_or_else(|| Err("the model gave no result".into())) {
                Ok(hypothesis) => session.apply(&hypothesis),
                Err(reason) => {
                    tracing::error!(session = name, reason, "a window could not be decoded");
                    metrics.failures.fetch_add(1, Relaxed);
                    session.failed(reason);
                }
            }
            still_due |= session.due().is_some();
        }
        still_due
    }

    /// Takes what the sessions have to say.
    fn collect(&mut self) -> Result<()> {
        for (&partition, sessions) in &mut self.partitions {
            let mut complete = Vec::new();
            for (name, slot) in &mut sessions.open {
                let Some(stream) = &mut slot.stream else { continue };
                let outputs = stream.outputs();
                let last = outputs.len().saturating_sub(1);
                for (index, (output, timestamp)) in outputs.into_iter().enumerate() {
                    if let Some(partial) = partial(name, &output) {
                        // Only the last one is worth showing.
                        if index == last {
                            self.outbox.partial(partition, &partial, timestamp)?;
                        }
                    } else if let Some(transcript) = transcript(name, output, &self.config, &slot.stored.settings) {
                        match transcript.kind {
                            rechka_types::Kind::Speech => self.finals.push((partition, timestamp)),
                            rechka_types::Kind::End => complete.push((name.clone(), timestamp)),
                            _ => {}
                        }
                        sessions.counts.rows_out += 1;
                        self.outbox.transcript(partition, &transcript, timestamp)?;
                    }
                }
            }
            for (name, timestamp) in complete {
                sessions.open.remove(&name);
                self.outbox.state(partition, &name, &stored::encode(None), timestamp)?;
                if let Some(forgotten) = sessions.complete(name) {
                    self.outbox.state(partition, &forgotten, &[], timestamp)?;
                }
            }
        }
        Ok(())
    }

    /// Shows partials at once: they are superseded soon, and nothing is built on them.
    fn publish_partials(&mut self) -> Result<()> {
        for ack in self.partials.drain(..) {
            ack.wait()?;
        }
        let appends = self.outbox.partials();
        if !appends.is_empty() {
            self.partials.push(self.log.append(appends)?);
        }
        Ok(())
    }

    /// Notes whether a partition is read to where its audio ends.
    fn look_for_end(&mut self, partition: Partition) {
        let Some(ends) = self.report.as_ref().and_then(|report| report.ends.as_ref()) else {
            return;
        };
        let end = ends.get(&TopicPartition::new(Arc::clone(&self.config.topics.audio), partition));
        if let (Some(end), Some(sessions)) = (end, self.partitions.get_mut(&partition)) {
            sessions.at_end |= sessions.position >= *end;
        }
    }

    /// Tells what the epoch that was committed has brought.
    fn tell(&mut self) {
        let lasted = self.epoch.take().map_or(Duration::ZERO, |began| began.elapsed());
        let Some(report) = &self.report else { return };
        for (&partition, sessions) in &mut self.partitions {
            if let Some(counts) = sessions.take_counts() {
                report.epoch(
                    partition,
                    sessions.position,
                    Counts {
                        epoch: lasted,
                        ..counts
                    },
                );
            }
            if sessions.is_worked_off() && !sessions.end_is_told {
                sessions.end_is_told = true;
                report.ended(partition);
            }
        }
    }

    fn measure(&self) {
        let count = |wanted: fn(&Slot) -> bool| self.slots().filter(|(_, _, slot)| wanted(slot)).count() as u64;
        let backlog = self.slots().map(|(_, _, slot)| slot.backlog()).max().unwrap_or(0);
        let now = now();
        let unread = |(_, sessions): (_, &Sessions)| now - sessions.newest;
        let congested = self
            .partitions
            .iter()
            .filter(|&(&partition, _)| self.is_congested(partition));
        let unread = congested.map(unread).max().unwrap_or(0);
        let lag = unread.max((backlog as f64 / RATE * 1e3) as i64);
        let streams = self.slots().filter_map(|(_, _, slot)| slot.stream.as_ref());
        let held: usize = streams.map(|stream| stream.session().held()).sum();
        self.metrics
            .sessions
            .store(count(|slot| slot.stream.is_some()), Relaxed);
        self.metrics.waiting.store(count(|slot| slot.wants_room), Relaxed);
        self.metrics.held_samples.store(held as u64, Relaxed);
        self.metrics.lag_milliseconds.store(lag.unsigned_abs(), Relaxed);
    }
}

impl Processor for Recognition {
    fn settled(&mut self) {
        if let Some(report) = &self.report {
            report.settled();
        }
    }

    fn assigned(&mut self, partition: Partition, next: &[Offset]) -> Result<()> {
        let offset = next.first().copied().unwrap_or_default();
        let stored = stored::load(&*self.log, &self.config.topics.state, partition)?;
        let mut sessions = Sessions::new(offset, stored);
        let keyless = sessions.open.iter().filter(|(_, slot)| slot.stored.keyless);
        if let Some((name, slot)) = keyless.max_by_key(|(_, slot)| slot.stored.replay) {
            let from = TopicPartition::new(Arc::clone(&self.config.topics.audio), partition);
            let unsaved = slot.stored.replay..offset;
            sessions.keyless = keyless::resume(&*self.log, &self.config, from, name.clone(), unsaved)?;
        }
        self.partitions.insert(partition, sessions);
        self.look_for_end(partition);
        Ok(())
    }

    fn revoked(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
        self.outbox.forget(partition);
        self.finals.retain(|(of, _)| *of != partition);
    }

    fn push(&mut self, fetched: &Fetched) -> Result<()> {
        let partition = fetched.from.partition;
        self.epoch.get_or_insert_with(Instant::now);
        for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
            self.take(partition, offset, &record)?;
        }
        if let Some(sessions) = self.partitions.get_mut(&partition) {
            sessions.counts.records_in += fetched.batch.len() as u64;
            sessions.position = sessions.position.max(fetched.next_offset());
        }
        self.look_for_end(partition);
        Ok(())
    }

    /// The sessions of the lost records tell by the next frame's number what they miss.
    fn lost(&mut self, from: &TopicPartition, offsets: Range<Offset>, reason: &str) -> Result<()> {
        let Some(sessions) = self.partitions.get_mut(&from.partition) else {
            return Ok(());
        };
        tracing::error!(%from, ?offsets, reason, "damaged records are left out");
        sessions.position = offsets.end;
        self.metrics.damaged.fetch_add(offsets.end - offsets.start, Relaxed);
        self.outbox.lost(from.partition, offsets, reason, now())?;
        self.look_for_end(from.partition);
        Ok(())
    }

    fn work(&mut self) -> Result<bool> {
        self.collect()?;
        self.wake_waiting()?;
        self.catch_up()?;
        self.complete();
        self.end_idle()?;
        let more = self.decode();
        self.collect()?;
        self.publish_partials()?;
        self.measure();
        let unfinished = |sessions: &Sessions| sessions.at_end && !sessions.open.is_empty();
        Ok(
            more || self.slots().any(|(_, _, slot)| slot.catch_up.is_some())
                || self.partitions.values().any(unfinished),
        )
    }

    fn output(&mut self) -> Result<Outcome> {
        let now = now();
        for (&partition, sessions) in &mut self.partitions {
            for (name, slot) in &mut sessions.open {
                if let Some(stored) = slot.take_unsaved() {
                    self.outbox.state(partition, name, &stored::encode(Some(stored)), now)?;
                }
            }
        }
        let (output, state) = self.outbox.epoch();
        Ok(Outcome { output, state })
    }

    fn is_urgent(&self) -> bool {
        let is_news = |sessions: &Sessions| sessions.is_worked_off() && !sessions.end_is_told;
        self.outbox.is_urgent() || self.partitions.values().any(is_news)
    }

    fn committed(&mut self) -> Result<()> {
        let now = now();
        self.metrics.finals.fetch_add(self.finals.len() as u64, Relaxed);
        for (_, timestamp) in self.finals.drain(..) {
            self.metrics
                .latency(Duration::from_millis(u64::try_from(now - timestamp).unwrap_or(0)));
        }
        self.tell();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    fn is_congested(&self, partition: Partition) -> bool {
        let most = self.max_backlog();
        self.partitions.get(&partition).is_some_and(|sessions| {
            sessions
                .open
                .values()
                .any(|slot| slot.catch_up.is_none() && slot.backlog() > most)
        })
    }

    fn failed(&mut self, error: &LogError) {
        if let Some(report) = &self.report {
            report.meter.failed(error.to_string());
        }
    }
}

/// Milliseconds since 1970, for what no text depends on.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
