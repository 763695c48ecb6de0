use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rechka_log::{
    CommitError, Epoch, Event, Log, LogError, Member, Membership, Offset, Partition, Reader, Result, TopicPartition,
};

use super::overlay::Overlay;

/// How long to wait for one log before looking into the other.
const TURN: Duration = Duration::from_millis(5);

/// The only member of its group, by plain readers.
pub(super) struct PlainMember {
    log: Overlay,
    group: Arc<str>,
    partitions: Partition,
    told: bool,
    /// Where to read on.
    places: BTreeMap<TopicPartition, Offset>,
    paused: BTreeSet<TopicPartition>,
    /// None after something has changed of what is to be read.
    readers: Option<Vec<Box<dyn Reader>>>,
}

impl PlainMember {
    pub fn new(log: Overlay, membership: Membership) -> Result<Self> {
        let topics = log.topics()?;
        let of_group = topics.iter().filter(|spec| membership.topics.contains(&spec.name));
        let partitions = of_group.map(|spec| spec.partitions).max().unwrap_or_default();
        Ok(PlainMember {
            log,
            group: membership.group,
            partitions,
            told: false,
            places: BTreeMap::new(),
            paused: BTreeSet::new(),
            readers: None,
        })
    }

    fn readers(&mut self) -> Result<&mut Vec<Box<dyn Reader>>> {
        let readers = match self.readers.take() {
            Some(readers) => readers,
            None => {
                let places = self
                    .places
                    .iter()
                    .filter(|(partition, _)| !self.paused.contains(partition));
                let places = places.map(|(partition, offset)| (partition.clone(), *offset));
                self.log.readers(places.collect())?
            }
        };
        Ok(self.readers.insert(readers))
    }
}

impl Member for PlainMember {
    fn poll(&mut self, wait: Duration) -> Result<Event> {
        if !std::mem::replace(&mut self.told, true) {
            return Ok(Event::Assigned((0..self.partitions).collect()));
        }
        let readers = self.readers()?;
        let wait = if readers.len() > 1 { wait.min(TURN) } else { wait };
        for reader in readers {
            match reader.poll(wait) {
                Ok(None) => {}
                Ok(Some(fetched)) => {
                    self.places.insert(fetched.from.clone(), fetched.next_offset());
                    return Ok(Event::Batch(fetched));
                }
                Err(error) => {
                    if let LogError::Damaged { from, offsets, .. } = &error {
                        self.places.insert(from.clone(), offsets.end);
                    }
                    return Err(error);
                }
            }
        }
        let is_read = |(partition, offset): (&TopicPartition, &Offset)| {
            Ok(self.paused.contains(partition) || self.log.offsets(partition)?.end <= *offset)
        };
        let all_read = self.places.iter().map(is_read).collect::<Result<Vec<_>>>()?;
        Ok(match all_read.into_iter().all(|is_read| is_read) {
            true => Event::CaughtUp,
            false => Event::Nothing,
        })
    }

    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError> {
        Ok(self.log.commit(&self.group, epoch)?)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.places.insert(partition.clone(), offset);
        self.readers = None;
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.paused.extend(partitions.iter().cloned());
        self.readers = None;
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        partitions.iter().for_each(|partition| {
            self.paused.remove(partition);
        });
        self.readers = None;
        Ok(())
    }
}
