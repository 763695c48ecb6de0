//! Records of audio to the sessions that they belong to.
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use rechka_log::{LogError, Offset, Partition, RecordRef, TopicPartition};

use super::{
    super::{keyless::Placed, record::Content, slot::Slot},
    RATE, Recognition, now,
};
use crate::Result;

impl Recognition {
    /// One record of a partition.
    pub(super) fn take(&mut self, partition: Partition, offset: Offset, record: &RecordRef<'_>) -> Result<()> {
        let Some(sessions) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        if offset < sessions.position {
            return Ok(());
        }
        sessions.position = offset;
        let placed = match sessions.keyless.place(&self.config, offset, record) {
            Ok(Some(placed)) => placed,
            Ok(None) => {
                sessions.position = offset + 1;
                return Ok(());
            }
            Err(reason) => {
                sessions.position = offset + 1;
                return self.dead(partition, offset, record, &reason);
            }
        };
        let Placed { session, over, content } = placed;
        if let Content::Audio(audio) = &content {
            let frames = (audio.bytes.len() / audio.format.frame_bytes()) as f64;
            self.metrics
                .samples
                .fetch_add((frames * RATE / f64::from(audio.format.rate())) as u64, Relaxed);
        }
        sessions.newest = record.timestamp;
        if let Some(slot) = over.and_then(|over| sessions.open.get_mut(&over)) {
            slot.finish(now());
        }
        if !sessions.open.contains_key(&session) && sessions.is_complete(&session) {
            sessions.position = offset + 1;
            return match content {
                Content::End(_) => Ok(()),
                Content::Audio(_) => {
                    let reason = "the session is complete: begin another one under another key";
                    self.dead(partition, offset, record, reason)
                }
            };
        }
        sessions
            .open
            .entry(session.clone())
            .or_insert_with(|| Slot::new(offset, &content, record.key.is_none()));
        self.wake(partition, &session)?;
        let Some(sessions) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        sessions.position = offset + 1;
        let Some(slot) = sessions.open.get_mut(&session) else {
            return Ok(());
        };
        slot.wants_room = slot.stream.is_none();
        if slot.catch_up.is_none()
            && let Err(reason) = slot.feed(offset, record, &content)
        {
            self.dead(partition, offset, record, &reason)?;
        }
        Ok(())
    }

    fn dead(&mut self, partition: Partition, offset: Offset, record: &RecordRef<'_>, reason: &str) -> Result<()> {
        tracing::warn!(partition, offset, reason, "a record went to the dead letters");
        self.metrics.dead.fetch_add(1, Relaxed);
        if let Some(sessions) = self.partitions.get_mut(&partition) {
            sessions.counts.dead += 1;
        }
        Ok(self.outbox.dead(partition, offset, record, reason)?)
    }

    /// Lets sessions that are behind their partition read the log by themselves.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        let most = self.max_backlog();
        let mut dead = Vec::new();
        'partitions: for (&partition, sessions) in &mut self.partitions {
            for (name, slot) in &mut sessions.open {
                while let Some(mut catch_up) = slot.catch_up.take() {
                    if catch_up.next >= sessions.position {
                        break;
                    }
                    if slot.backlog() >= most {
                        slot.catch_up = Some(catch_up);
                        break;
                    }
                    let fetched = match catch_up.reader.poll(Duration::from_millis(100)) {
                        Ok(Some(fetched)) => fetched,
                        Ok(None) => {
                            let audio = TopicPartition::new(self.config.topics.audio.clone(), partition);
                            if self.log.start(&audio)? >= sessions.position {
                                break; // What was there is deleted.
                            }
                            // The log has not answered yet.
                            slot.catch_up = Some(catch_up);
                            break 'partitions;
                        }
                        Err(LogError::Damaged { offsets, reason, .. }) => {
                            // Where the partition's own reader met them they went to the dead letters.
                            tracing::warn!(partition, ?offsets, reason, "records of a session are damaged");
                            catch_up.skip(offsets.end, sessions.position);
                            slot.catch_up = Some(catch_up);
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    };
                    for (offset, record) in catch_up.take(&fetched, sessions.position) {
                        // What is no record went to the dead letters when it was pushed.
                        let Ok(Some(placed)) = catch_up.keyless.place(&self.config, offset, &record) else {
                            continue;
                        };
                        if placed.session == *name {
                            if let Err(reason) = slot.feed(offset, &record, &placed.content) {
                                dead.push((partition, offset, fetched.clone(), reason));
                            }
                        } else if placed.over.as_ref() == Some(name) {
                            slot.finish(now());
                        }
                    }
                    slot.catch_up = Some(catch_up);
                }
            }
        }
        for (partition, offset, fetched, reason) in dead {
            if let Some(record) = fetched.batch.get((offset - fetched.base_offset) as usize) {
                self.dead(partition, offset, &record, &reason)?;
            }
        }
        Ok(())
    }

    /// Writes the end of sessions that can't say it themselves, when they have been silent for long and nothing is left to read.
    pub(super) fn end_idle(&mut self) -> Result<()> {
        let clock = Instant::now();
        for (&partition, sessions) in &mut self.partitions {
            let Some(session) = sessions.keyless.take_idle(clock, self.config.speech.pause) else {
                continue;
            };
            let audio = TopicPartition::new(Arc::clone(&self.config.topics.audio), partition);
            if self.log.offsets(&audio)?.end <= sessions.position {
                self.outbox.end(partition, session, now())?;
            }
        }
        Ok(())
    }
}
