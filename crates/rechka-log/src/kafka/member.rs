//! A member of a consumer group.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList, consumer::Consumer, topic_partition_list::TopicPartitionListElem,
    types::RDKafkaErrorCode,
};

use super::{
    client::{KafkaConsumer, Rebalance, accept, release},
    error::failed,
    holders,
    reader::{serve, sleep},
    shared::{Shared, next_offset},
    stream::Stream,
    subscription::subscribe,
    transaction::{Failure, GroupOffsets},
    transactor::Transactor,
};
use crate::{
    CommitError, Epoch, Event, Holder, LogError, Member, Membership, Offset, Partition, Result, TopicPartition,
};

/// How long a commit of an old generation is tried again: the new one may be on its way to this member.
const STALE: Duration = Duration::from_secs(3);
/// How long to ask at once where to begin with what was assigned.
const WHERE_TO_BEGIN: Duration = Duration::from_secs(5);
/// The pause before a commit is tried again.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How long to try a seek of a partition that the client is still opening.
const OPENING: Duration = Duration::from_secs(5);
/// The pause before a name is asked for again that another member has.
const ASK_FOR_NAME: Duration = Duration::from_millis(300);
/// How long beyond the time in which the group notices a death.
const NAME_TAKEN: Duration = Duration::from_secs(3);

/// A [`Member`] of a group of Kafka.
///
/// What the group assigns is taken at the poll after the member was told, and what it revokes is let go at the poll after:
/// so the member may seek before the first record comes, and commit before the partition goes to another.
pub(super) struct KafkaMember {
    /// Before the consumer, as their queues are the consumer's.
    streams: Vec<Stream>,
    /// The stream that was read last.
    turn: usize,
    consumer: Arc<KafkaConsumer>,
    shared: Arc<Shared>,
    membership: Membership,
    /// The member, as others see it.
    holder: Holder,
    transactor: Transactor,
    /// The partitions that the member was told are its own, and was not told to be gone since before the last poll.
    owned: BTreeSet<Partition>,
    /// What the group has assigned, by topic.
    held: HashSet<TopicPartition>,
    /// What is to be taken at the next poll, and where it begins; no offset: at the earliest record.
    opening: Option<HashMap<TopicPartition, Option<Offset>>>,
    /// What is to be let go at the next poll.
    leaving: Option<TopicPartitionList>,
    paused: HashSet<TopicPartition>,
    /// What is committed, as far as it is known.
    committed: HashMap<TopicPartition, Offset>,
    /// For what it is the holder, as others see it.
    marked: HashSet<TopicPartition>,
    /// Whether the group has assigned anything yet, be it nothing.
    settled: bool,
    /// The group has refused a commit, or the client has failed: the member joins anew at the next poll.
    dismissed: bool,
    /// How soon the group notices that a member has died.
    session: Duration,
    /// Since when the group refuses the member, because another one has its name.
    refused: Option<Instant>,
    /// Another one has the name for good: it is not fought for.
    taken: bool,
    last_poll: Instant,
}

impl KafkaMember {
    pub(super) fn join(shared: Arc<Shared>, membership: Membership) -> Result<Self> {
        let mut partitions = None;
        for topic in &membership.topics {
            let number = shared.topics.partitions(shared.lookup(), topic)?;
            let (first, expected) = *partitions.get_or_insert((topic, number));
            if number != expected {
                return Err(LogError::Invalid(format!(
                    "a group shares out partitions by their number: {first:?} has {expected} and {topic:?} has {number}"
                )));
            }
        }
        if partitions.is_none() {
            return Err(LogError::Invalid(format!(
                "the group {:?} reads no topic: name at least one",
                membership.group
            )));
        }
        let (consumer, session) = subscribe(&shared, &membership)?;
        let holder = membership.holder();
        let id = holders::transactional_id(&membership.group, &holder);
        Ok(Self {
            streams: Vec::new(),
            turn: 0,
            consumer,
            transactor: Transactor::new(Arc::clone(&shared), id),
            shared,
            membership,
            holder,
            owned: BTreeSet::new(),
            held: HashSet::new(),
            opening: None,
            leaving: None,
            paused: HashSet::new(),
            committed: HashMap::new(),
            marked: HashSet::new(),
            settled: false,
            dismissed: false,
            session,
            refused: None,
            taken: false,
            last_poll: Instant::now(),
        })
    }

    /// What the group has to say.
    fn rebalance(&mut self) -> Result<Option<Event>> {
        while let Some(rebalance) = self.consumer.context().next_rebalance() {
            match rebalance {
                Rebalance::Assign(partitions) => {
                    self.settled = true;
                    self.refused = None;
                    let assigned = match self.assigned(&partitions) {
                        Ok(assigned) => assigned,
                        Err(error) => {
                            tracing::warn!(%error, "the group waits");
                            let listener = self.consumer.context();
                            listener.put_back(Rebalance::Assign(partitions));
                            return Ok(None);
                        }
                    };
                    if !assigned.is_empty() {
                        return Ok(Some(Event::Assigned(assigned)));
                    }
                    self.open()?;
                }
                Rebalance::Revoke(partitions) => {
                    let numbers: BTreeSet<Partition> = names(&partitions).map(|name| name.partition).collect();
                    let told: Vec<Partition> = self.owned.intersection(&numbers).copied().collect();
                    self.leaving = Some(partitions);
                    if !told.is_empty() {
                        return Ok(Some(Event::Revoked(told)));
                    }
                    self.leave()?;
                }
            }
        }
        Ok(None)
    }

    /// Notes what the group assigned; returns the numbers of which it now holds all topics.
    fn assigned(&mut self, partitions: &TopicPartitionList) -> Result<Vec<Partition>> {
        let mut begin = partitions.clone();
        if partitions.count() > 0 {
            self.transactor.open()?;
            self.shared.settle(&self.membership.group, partitions, &self.holder)?;
            let committed = self.consumer.committed_offsets(begin, WHERE_TO_BEGIN);
            begin = committed.map_err(|error| failed("asking where to begin", error))?;
        }
        let opening = self.opening.get_or_insert_default();
        for partition in begin.elements() {
            // Not known is not the same as not committed.
            let known = partition.error();
            known.map_err(|error| failed("asking where to begin", error))?;
            let name = TopicPartition::new(partition.topic(), partition.partition().unsigned_abs());
            let offset = next_offset(partition.offset());
            self.committed.extend(offset.map(|offset| (name.clone(), offset)));
            opening.insert(name.clone(), offset);
            self.held.insert(name);
        }
        let numbers: BTreeSet<Partition> = names(partitions).map(|name| name.partition).collect();
        let whole = |number: &Partition| {
            let mut topics = self.membership.topics.iter();
            topics.all(|topic| self.held.contains(&TopicPartition::new(Arc::clone(topic), *number)))
        };
        let whole: Vec<Partition> = numbers
            .difference(&self.owned)
            .copied()
            .filter(|number| whole(number))
            .collect();
        self.owned.extend(&whole);
        Ok(whole)
    }

    /// Takes what was assigned.
    fn open(&mut self) -> Result<()> {
        let Some(opening) = &self.opening else {
            return Ok(());
        };
        let mut partitions = TopicPartitionList::new();
        let mut streams = Vec::new();
        for (name, offset) in opening {
            let begin = match offset {
                Some(offset) => KafkaOffset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX)),
                None => KafkaOffset::Beginning,
            };
            let added = partitions.add_partition_offset(&name.topic, name.partition as i32, begin);
            added.map_err(|error| failed("taking partitions", error))?;
            streams.push(Stream::open(&self.consumer, name.clone(), offset.unwrap_or(0))?);
        }
        accept(&self.consumer, &partitions)?;
        self.streams.extend(streams);
        self.opening = None;
        Ok(())
    }

    /// Lets go of what was revoked.
    fn leave(&mut self) -> Result<()> {
        if self.leaving.is_some() && !self.is_lost() {
            self.hand_over()?;
        }
        let Some(partitions) = self.leaving.take() else {
            return Ok(());
        };
        let gone: HashSet<TopicPartition> = names(&partitions).collect();
        self.streams.retain(|stream| !gone.contains(stream.name()));
        self.paused.retain(|name| !gone.contains(name));
        self.marked.retain(|name| !gone.contains(name));
        self.committed.retain(|name, _| !gone.contains(name));
        self.held.retain(|name| !gone.contains(name));
        self.owned
            .retain(|number| gone.iter().all(|name| name.partition != *number));
        if let Some(opening) = &mut self.opening {
            opening.retain(|name, _| !gone.contains(name));
        }
        self.turn = 0;
        release(&self.consumer, &partitions).inspect_err(|_| self.dismissed = true)
    }

    /// Sees to it that the next holder finds everything complete, and nothing to settle.
    fn hand_over(&mut self) -> Result<()> {
        let leaving: Vec<TopicPartition> = self.leaving.iter().flat_map(names).collect();
        let marked = leaving.iter().filter(|name| self.marked.contains(name));
        let offsets: Vec<_> = marked
            .filter_map(|name| Some((name.clone(), *self.committed.get(name)?)))
            .collect();
        if !offsets.is_empty() {
            let appends = Vec::new();
            match self.commit(Epoch { offsets, appends }) {
                Ok(()) | Err(CommitError::Fenced(_)) => {}
                Err(CommitError::Log(error)) => return Err(error),
            }
        }
        self.transactor.complete()
    }

    /// Leaves the group, and joins it anew. Returns what the member has to be told to be gone.
    fn rejoin(&mut self) -> Result<Option<Event>> {
        if self.taken {
            return Err(self.name_taken());
        }
        if !self.dismissed {
            return Ok(None);
        }
        let (consumer, session) = subscribe(&self.shared, &self.membership)?;
        self.close();
        (self.consumer, self.session) = (consumer, session);
        self.dismissed = false;
        self.settled = false;
        self.paused.clear();
        self.committed.clear();
        self.marked.clear();
        self.held.clear();
        let told: Vec<Partition> = std::mem::take(&mut self.owned).into_iter().collect();
        Ok(Some(told).filter(|told| !told.is_empty()).map(Event::Revoked))
    }

    /// Lets go of everything, so that the consumer can be dropped. The client waits for answers to what it asked.
    fn close(&mut self) {
        self.streams.clear();
        let listener = self.consumer.context();
        listener.close();
        if let Some(partitions) = self.leaving.take() {
            let _ = release(&self.consumer, &partitions);
        }
        if self.opening.take().is_some() {
            let _ = accept(&self.consumer, &TopicPartitionList::new());
        }
        while let Some(rebalance) = listener.next_rebalance() {
            let _ = match rebalance {
                Rebalance::Assign(_) => accept(&self.consumer, &TopicPartitionList::new()),
                Rebalance::Revoke(partitions) => release(&self.consumer, &partitions),
            };
        }
    }

    /// The client has given up.
    fn ended(&mut self, error: LogError) -> Result<Event> {
        self.dismissed = true;
        match self.consumer.client().fatal_error() {
            // Another one has come and taken the name.
            Some((RDKafkaErrorCode::FencedInstanceId, _)) => self.taken = true,
            // Who has the name may be dead: then it is free when the group has noticed.
            Some((RDKafkaErrorCode::UnreleasedInstanceId, _)) => {
                let since = *self.refused.get_or_insert_with(Instant::now);
                if since.elapsed() < self.session + NAME_TAKEN {
                    thread::sleep(ASK_FOR_NAME);
                    return Ok(Event::Nothing);
                }
                self.taken = true;
            }
            _ => return Err(error),
        }
        Err(self.name_taken())
    }

    fn name_taken(&self) -> LogError {
        LogError::NameTaken {
            group: self.membership.group.to_string(),
            worker: self.holder.worker.to_string(),
        }
    }

    /// Whether the group may have given up on this member since its last poll.
    fn is_lost(&self) -> bool {
        self.dismissed
            || self.consumer.assignment_lost()
            || self.last_poll.elapsed() >= self.shared.options.max_poll_interval()
    }

    /// Refuses an epoch that is about partitions of others.
    fn fence(&self, epoch: &Epoch) -> std::result::Result<(), CommitError> {
        let mut named = epoch.offsets.iter().map(|(name, _)| name.partition);
        if let Some(foreign) = named.clone().find(|number| !self.owned.contains(number)) {
            return Err(CommitError::Fenced(foreign));
        }
        if self.is_lost() {
            return Err(CommitError::Fenced(self.some_partition(named.next())));
        }
        Ok(())
    }

    fn some_partition(&self, named: Option<Partition>) -> Partition {
        named.or_else(|| self.owned.first().copied()).unwrap_or_default()
    }

    /// The offsets of an epoch. The group fences by offsets; so an epoch that names none commits one again that is committed.
    fn offsets(&self, epoch: &Epoch) -> std::result::Result<Option<TopicPartitionList>, CommitError> {
        let mut named = epoch.offsets.clone();
        if named.is_empty()
            && let Some(number) = self.owned.first()
            && let Some(topic) = self.membership.topics.first()
        {
            let name = TopicPartition::new(Arc::clone(topic), *number);
            let offset = match self.committed.get(&name) {
                Some(offset) => *offset,
                None => self.shared.offsets(&name)?.start,
            };
            named.push((name, offset));
        }
        let mut offsets = TopicPartitionList::new();
        for (name, offset) in &named {
            let offset =
                i64::try_from(*offset).map_err(|_| LogError::Invalid(format!("there is no offset {offset}")))?;
            let added = offsets.add_partition_offset(&name.topic, name.partition as i32, KafkaOffset::Offset(offset));
            added.map_err(|error| failed("committing", error))?;
            // Who lets go of a partition leaves nothing open in it.
            let leaves = self
                .leaving
                .as_ref()
                .is_some_and(|leaving| find(leaving, name).is_some());
            if !leaves && let Some(mut element) = find(&offsets, name) {
                element.set_metadata(holders::mark(&self.holder));
            }
        }
        Ok(Some(offsets).filter(|offsets| offsets.count() > 0))
    }

    /// Refuses an epoch that no member of the group could commit.
    fn check(&self, epoch: &Epoch) -> Result<()> {
        for (name, _) in &epoch.offsets {
            if !self.membership.topics.contains(&name.topic) {
                return Err(LogError::Invalid(format!(
                    "the group {:?} does not read the topic {:?}",
                    self.membership.group, name.topic
                )));
            }
            self.shared.topics.check(self.shared.lookup(), name)?;
        }
        self.shared.check(&epoch.appends)
    }

    /// Whether what is committed is what this member knows of it. The group fences members, not partitions: one that was expelled and is a
    /// member again may not have been told yet what it has lost, and would commit over its successor.
    fn compare(&self, offsets: Option<&TopicPartitionList>) -> std::result::Result<(), Failure> {
        let Some(offsets) = offsets else { return Ok(()) };
        let mut asked = TopicPartitionList::new();
        for name in names(offsets) {
            asked.add_partition(&name.topic, name.partition as i32);
        }
        let aborted = |error| Failure::Aborted(failed("asking for what is committed", error));
        let found = self
            .consumer
            .committed_offsets(asked, WHERE_TO_BEGIN)
            .map_err(aborted)?;
        for element in found.elements() {
            element.error().map_err(aborted)?;
            let name = TopicPartition::new(element.topic(), element.partition().unsigned_abs());
            if next_offset(element.offset()) != self.committed.get(&name).copied() {
                return Err(Failure::Fenced { stale: false });
            }
        }
        Ok(())
    }

    fn try_commit(&mut self, epoch: &Epoch, offsets: Option<&TopicPartitionList>) -> std::result::Result<(), Failure> {
        let offsets = match offsets {
            None => None,
            Some(offsets) => {
                // Fresh for every attempt: the generation grows.
                let Some(group) = self.consumer.group_metadata() else {
                    return Err(Failure::Fenced { stale: true });
                };
                Some(GroupOffsets { offsets, group })
            }
        };
        let (consumer, deadline) = (&self.consumer, self.last_poll + self.shared.options.max_poll_interval());
        let may_commit = || !consumer.assignment_lost() && Instant::now() < deadline;
        let appends: Vec<_> = epoch.appends.iter().collect();
        self.transactor.attempt(&appends, offsets, may_commit).map(|_| ())
    }

    fn stream(&mut self, name: &TopicPartition) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.name() == name)
    }

    fn require(&self, name: &TopicPartition) -> Result<()> {
        if self.held.contains(name) {
            return Ok(());
        }
        let why = format!("{name} is not assigned to this member of the group");
        Err(LogError::Invalid(why))
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, wait: Duration) -> Result<Event> {
        let deadline = Instant::now().checked_add(wait);
        if let Some(event) = self.rejoin()? {
            return Ok(event);
        }
        self.leave()?;
        self.open()?;
        let signal = Arc::clone(&self.consumer.context().signal);
        loop {
            signal.clear();
            if let Err(error) = serve(&self.consumer) {
                return self.ended(error);
            }
            self.last_poll = Instant::now();
            if let Some(event) = self.rebalance()? {
                return Ok(event);
            }
            for _ in 0..self.streams.len() {
                self.turn = (self.turn + 1) % self.streams.len();
                let stream = &mut self.streams[self.turn];
                if self.paused.contains(stream.name()) {
                    continue;
                }
                if let Some(fetched) = stream.next()? {
                    return Ok(Event::Batch(fetched));
                }
            }
            if !sleep(&signal, deadline) {
                let mut read = self
                    .streams
                    .iter()
                    .filter(|stream| !self.paused.contains(stream.name()));
                return Ok(match self.settled && read.all(Stream::at_end) {
                    true => Event::CaughtUp,
                    false => Event::Nothing,
                });
            }
        }
    }

    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError> {
        self.check(&epoch)?;
        if let Err(fenced) = self.fence(&epoch) {
            // Lost by our clock, and perhaps not by the client's: whoever is fenced has to be told anew what is its own.
            self.dismissed |= self.is_lost();
            return Err(fenced);
        }
        if epoch.offsets.is_empty() && epoch.appends.is_empty() {
            return Ok(());
        }
        let offsets = self.offsets(&epoch)?;
        let begun = Instant::now();
        let mut compared = false;
        let failure = loop {
            // Only before the first attempt: after that, what is committed may be our own.
            let same = if compared {
                Ok(())
            } else {
                self.compare(offsets.as_ref())
            };
            compared |= same.is_ok();
            let (patience, failure) = match same.and_then(|()| self.try_commit(&epoch, offsets.as_ref())) {
                Ok(()) => {
                    let leaving: HashSet<TopicPartition> = self.leaving.iter().flat_map(names).collect();
                    let named = epoch.offsets.iter().map(|(name, _)| name.clone());
                    self.marked.extend(named.filter(|name| !leaving.contains(name)));
                    self.marked.retain(|name| !leaving.contains(name));
                    for element in offsets.iter().flat_map(TopicPartitionList::elements) {
                        let name = TopicPartition::new(element.topic(), element.partition().unsigned_abs());
                        self.committed
                            .extend(next_offset(element.offset()).map(|offset| (name, offset)));
                    }
                    return Ok(());
                }
                Err(Failure::Refused(error)) => break error.into(),
                Err(Failure::Fenced { stale }) => {
                    let named = epoch.offsets.first().map(|(name, _)| name.partition);
                    let fenced = CommitError::Fenced(self.some_partition(named));
                    (if stale { STALE } else { Duration::ZERO }, fenced)
                }
                Err(Failure::NameTaken) => {
                    self.taken = true;
                    break CommitError::Fenced(self.some_partition(None));
                }
                Err(Failure::Aborted(error) | Failure::Broken(error) | Failure::Unknown(error)) => {
                    // That no broker answers is told elsewhere.
                    if self.shared.connection.ready().is_ok() {
                        tracing::warn!(%error, "committing to Kafka; trying again");
                    }
                    (self.shared.options.patience(), error.into())
                }
            };
            if begun.elapsed() >= patience {
                break failure;
            }
            thread::sleep(BACK_OFF);
            if let Err(fenced) = self.fence(&epoch) {
                break fenced;
            }
        };
        self.transactor.give_up();
        self.dismissed |= matches!(failure, CommitError::Fenced(_));
        Err(failure)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.require(partition)?;
        if let Some(opening) = self.opening.as_mut().and_then(|opening| opening.get_mut(partition)) {
            *opening = Some(offset);
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            let mut to = TopicPartitionList::new();
            let raw = KafkaOffset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            let added = to.add_partition_offset(&partition.topic, partition.partition as i32, raw);
            added.map_err(|error| failed("seeking", error))?;
            let sought = self.consumer.seek_partitions(to, self.shared.options.patience());
            let sought = sought.and_then(|sought| sought.elements().iter().try_for_each(|partition| partition.error()));
            match sought {
                Ok(()) => break,
                Err(_) if begun.elapsed() < OPENING => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(failed(&format!("seeking in {partition}"), error)),
            }
        }
        if let Some(stream) = self.stream(partition) {
            stream.seek(offset);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        // The client reads on until its queue is full; nothing that it has read is thrown away.
        for partition in partitions {
            self.require(partition)?;
            self.paused.insert(partition.clone());
        }
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            self.require(partition)?;
            self.paused.remove(partition);
        }
        Ok(())
    }
}

impl fmt::Debug for KafkaMember {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut formatter = formatter.debug_struct("KafkaMember");
        formatter
            .field("membership", &self.membership)
            .field("owned", &self.owned);
        formatter.finish_non_exhaustive()
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.close();
    }
}

fn find<'a>(partitions: &'a TopicPartitionList, name: &TopicPartition) -> Option<TopicPartitionListElem<'a>> {
    partitions.find_partition(&name.topic, name.partition as i32)
}

fn names(partitions: &TopicPartitionList) -> impl Iterator<Item = TopicPartition> {
    let elements = partitions.elements();
    let names = elements
        .iter()
        .map(|element| TopicPartition::new(element.topic(), element.partition().unsigned_abs()));
    names.collect::<Vec<_>>().into_iter()
}
