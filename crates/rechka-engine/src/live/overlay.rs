use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rechka_log::{
    Ack, Append, Epoch, Log, LogError, Member, Membership, Offset, OffsetRange, Reader, Result, TopicPartition,
    TopicSpec,
};
use rechka_sql::plan::{Query, Source};

use super::{Since, member::PlainMember};

/// How far groups have read.
type Places = BTreeMap<(Arc<str>, TopicPartition), Offset>;

/// Two logs as one.
#[derive(Clone)]
pub(super) struct Overlay {
    below: Arc<dyn Log>,
    own: Arc<dyn Log>,
    /// The topics below that are read.
    inputs: Arc<BTreeMap<Arc<str>, TopicSpec>>,
    places: Arc<Mutex<Places>>,
    /// Where groups begin to read what is below, if not at its start.
    begin: Arc<BTreeMap<TopicPartition, Offset>>,
}

impl Overlay {
    pub fn new(below: Arc<dyn Log>, own: Arc<dyn Log>, query: &Query, since: Since) -> Result<Self> {
        let existing = below.topics()?;
        let (mut inputs, mut begin) = (BTreeMap::new(), BTreeMap::new());
        for input in query.stages.iter().flat_map(|stage| &stage.inputs) {
            let (Source::Stream(relation) | Source::Table(relation)) = &input.source else {
                continue;
            };
            if relation.file.is_some() {
                continue;
            }
            let spec = existing.iter().find(|spec| spec.name == relation.topic);
            let spec = spec.ok_or_else(|| LogError::UnknownTopic(relation.topic.to_string()))?;
            inputs.insert(spec.name.clone(), spec.clone());
            if since == Since::Now && matches!(input.source, Source::Stream(_)) {
                for partition in 0..relation.partitions {
                    let name = TopicPartition::new(relation.topic.clone(), partition);
                    begin.insert(name.clone(), below.offsets(&name)?.end);
                }
            }
        }
        Ok(Overlay {
            below,
            own,
            inputs: Arc::new(inputs),
            places: Arc::default(),
            begin: Arc::new(begin),
        })
    }

    fn of(&self, topic: &str) -> &dyn Log {
        match self.inputs.contains_key(topic) {
            true => &*self.below,
            false => &*self.own,
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an epoch of a group. There is nobody who could see half of it.
    pub fn commit(&self, group: &Arc<str>, epoch: Epoch) -> Result<()> {
        self.own.append(epoch.appends)?.wait()?;
        let places = epoch.offsets.into_iter();
        self.places()
            .extend(places.map(|(partition, offset)| ((group.clone(), partition), offset)));
        Ok(())
    }

    /// Readers of these partitions: one for each log that has some.
    pub fn readers(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Vec<Box<dyn Reader>>> {
        let is_below = |(name, _): &(TopicPartition, Offset)| self.inputs.contains_key(&name.topic);
        let (below, own): (Vec<_>, Vec<_>) = from.into_iter().partition(is_below);
        let logs = [(&self.own, own), (&self.below, below)];
        let logs = logs.into_iter().filter(|(_, from)| !from.is_empty());
        logs.map(|(log, from)| log.read(from)).collect()
    }
}

impl Log for Overlay {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        match self.inputs.contains_key(&spec.name) {
            true => Ok(()),
            false => self.own.create_topic(spec),
        }
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.own.delete_topic(topic)
    }

    fn topics(&self) -> Result<Vec<TopicSpec>> {
        let mut topics = self.own.topics()?;
        topics.extend(self.inputs.values().cloned());
        Ok(topics)
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.of(&partition.topic).offsets(partition)
    }

    fn start(&self, partition: &TopicPartition) -> Result<Offset> {
        self.of(&partition.topic).start(partition)
    }

    fn is_undecided(&self, partition: &TopicPartition) -> Result<bool> {
        self.of(&partition.topic).is_undecided(partition)
    }

    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        self.of(&partition.topic).offset_at(partition, timestamp)
    }

    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        match self.inputs.contains_key(&partition.topic) {
            true => Ok(()),
            false => self.own.delete_before(partition, offset),
        }
    }

    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        let place = self.places().get(&(group.into(), partition.clone())).copied();
        Ok(place.or_else(|| self.begin.get(partition).copied()))
    }

    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        self.own.append(appends)
    }

    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>> {
        // The engine reads the topics of one relation at a time.
        let topic = from
            .first()
            .map(|(partition, _)| partition.topic.clone())
            .unwrap_or_default();
        self.of(&topic).read(from)
    }

    fn join(&self, membership: Membership) -> Result<Box<dyn Member>> {
        Ok(Box::new(PlainMember::new(self.clone(), membership)?))
    }
}
