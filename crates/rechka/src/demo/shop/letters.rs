//! How many records were broken. Every query that meets one writes a dead letter, so they are counted by where the record was.
use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Result;
use rechka_log::{Log, Reader, RecordRef, TopicPartition};
use rechka_types::topics;

use super::visitors::TOPICS;

/// Counts the broken records of the shop's topics, from the first one on.
pub struct Letters {
    reader: Box<dyn Reader>,
    seen: HashSet<Vec<u8>>,
}

impl Letters {
    /// Nothing counted yet. The queries have made their topics.
    pub fn new(log: &Arc<dyn Log>) -> Result<Self> {
        let wanted = TOPICS.map(topics::dead);
        let there = log.topics()?;
        let topics = there
            .iter()
            .filter(|topic| wanted.iter().any(|name| **name == *topic.name));
        let places = topics.flat_map(|topic| {
            (0..topic.partitions).map(|partition| (TopicPartition::new(Arc::clone(&topic.name), partition), 0))
        });
        Ok(Self {
            reader: log.read(places.collect())?,
            seen: HashSet::new(),
        })
    }

    /// Reads on to the end; how many there are.
    pub fn count(&mut self) -> Result<usize> {
        while let Some(fetched) = self.reader.poll(Duration::ZERO)? {
            self.seen.extend(fetched.batch.iter().map(|letter| place(&letter)));
        }
        Ok(self.seen.len())
    }
}

/// Where the record was: topic, partition and offset, as its headers say.
fn place(letter: &RecordRef<'_>) -> Vec<u8> {
    let mut place = Vec::new();
    for (name, value) in letter.headers() {
        if ["dead.topic", "dead.partition", "dead.offset"].contains(&name) {
            place.extend_from_slice(value);
            place.push(b' ');
        }
    }
    place
}
