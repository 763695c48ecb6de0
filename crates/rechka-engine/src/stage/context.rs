//! What all tasks of a stage have in common.
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use rechka_log::{Log, Offset, Partition, TopicPartition};
use rechka_sql::plan::{Groups, Operation, Output, Query, Source, Stage};

use super::{
    changelog,
    dag::{Dag, NewOperator},
    standby::Standbys,
};
use crate::{EngineError, Failpoint, Result, statistics::Meter};

/// Topics that a stage reads as a group, and the inputs that each feeds.
pub(crate) type Topics = Vec<(Arc<str>, Vec<usize>)>;

/// A stage, ready to run.
pub(crate) struct StageContext {
    pub log: Arc<dyn Log>,
    pub query: Arc<Query>,
    /// The stage's number in the query.
    pub number: usize,
    /// What tells its state from that of another plan.
    pub fingerprint: u64,
    /// What it reads.
    pub topics: Topics,
    /// How many sources speak about the time of each input.
    pub sources: Vec<usize>,
    /// The topic of its state, if it has some.
    pub state: Option<Arc<str>>,
    /// Whether time passes for it without records.
    pub processing_time: bool,
    /// Where its streams end, if they are read to their end and not for ever.
    pub ends: Option<Arc<BTreeMap<TopicPartition, Offset>>>,
    /// Where exchanges ended when this run began: what was said before of the end of streams was said of another run.
    pub begins: Arc<BTreeMap<TopicPartition, Offset>>,
    pub new_operator: NewOperator,
    /// Bytes of changes before there is a snapshot.
    pub snapshot_bytes: usize,
    /// How often what an exchange has brought is deleted.
    pub purge: Duration,
    /// The wall clock, in microseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub failpoint: Failpoint,
    pub meter: Arc<Meter>,
    /// Set to end the query.
    pub stop: Arc<AtomicBool>,
    /// The state of others' partitions, if it is kept.
    pub standbys: Option<Arc<Standbys>>,
}

impl StageContext {
    pub fn stage(&self) -> &Stage {
        &self.query.stages[self.number]
    }

    /// The group of its tasks.
    pub fn group(&self) -> Arc<str> {
        group(&self.query, self.number)
    }

    /// The operators, which know nothing yet.
    pub(super) fn new_dag(&self) -> Result<Dag> {
        Dag::new(&self.query, self.stage(), &self.new_operator)
    }

    /// From where on records of an exchange are of this run.
    pub fn begin(&self, topic: &Arc<str>, partition: Partition) -> Offset {
        let name = TopicPartition::new(topic.clone(), partition);
        self.begins.get(&name).copied().unwrap_or_default()
    }

    /// What earlier runs have left does not fit the query.
    pub fn unfit(&self, reason: String) -> EngineError {
        EngineError::Unfit {
            query: self.query.name.clone(),
            reason,
        }
    }

    /// Where a stream's partition ends, if it is read to its end.
    pub fn end(&self, topic: usize, partition: Partition) -> Option<Offset> {
        let name = TopicPartition::new(self.topics[topic].0.clone(), partition);
        self.ends.as_ref()?.get(&name).copied()
    }
}

/// The number of tasks of a stage: one for each partition of its inputs.
pub(crate) fn tasks(query: &Query, stage: &Stage) -> Result<Partition> {
    let mut tasks = None;
    for input in &stage.inputs {
        let (name, partitions) = match &input.source {
            Source::Table(_) => continue,
            Source::Stream(relation) => (relation.name.to_string(), relation.partitions),
            Source::Exchange(from) => {
                let (topic, partitions) = exchange(query, *from)?;
                (topic.to_string(), partitions)
            }
        };
        match tasks {
            Some((_, partitions_before)) if partitions_before == partitions => {}
            None => tasks = Some((name, partitions)),
            Some((before, partitions_before)) => {
                return Err(EngineError::Query(format!(
                    "{before:?} has {partitions_before} partitions and {name:?} has {partitions}: a query that reads \
                     both together needs the same number"
                )));
            }
        }
    }
    let no_stream = || EngineError::Query("the query reads no stream, so it would never do anything".into());
    tasks.map(|(_, partitions)| partitions).ok_or_else(no_stream)
}

/// How many sources speak about the time of each input of a stage. Tables have no time.
pub(crate) fn sources(query: &Query, stage: &Stage) -> Result<Vec<usize>> {
    let sources = stage.inputs.iter().map(|input| match &input.source {
        Source::Table(_) => Ok(0),
        Source::Stream(_) => Ok(1),
        Source::Exchange(from) => Ok(tasks(query, &query.stages[*from])? as usize),
    });
    sources.collect()
}

/// The topics that a stage reads as a group, and the inputs that each feeds.
pub(crate) fn topics(query: &Query, stage: &Stage) -> Result<Topics> {
    let mut topics = Topics::new();
    for (number, input) in stage.inputs.iter().enumerate() {
        let topic = match &input.source {
            Source::Table(_) => continue,
            Source::Stream(relation) => relation.topic.clone(),
            Source::Exchange(from) => exchange(query, *from)?.0.clone(),
        };
        match topics.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, inputs)) => inputs.push(number),
            None => topics.push((topic, vec![number])),
        }
    }
    Ok(topics)
}

/// The topic into which a stage sends its rows to others, and its number of partitions.
fn exchange(query: &Query, from: usize) -> Result<(&Arc<str>, Partition)> {
    match query.stages.get(from).map(|stage| &stage.output) {
        Some(Output::Exchange { topic, partitions, .. }) => Ok((topic, *partitions)),
        _ => Err(EngineError::Query(format!("stage {from} has no exchange to read"))),
    }
}

/// The consumer group of a stage.
pub(crate) fn group(query: &Query, number: usize) -> Arc<str> {
    format!("{}.{number}", query.name).into()
}

/// The groups of all stages that read what a stage sends: several do where branches of a query share their beginning.
pub(super) fn readers(query: &Query, from: usize) -> impl Iterator<Item = Arc<str>> {
    let reads = move |stage: &Stage| {
        let mut inputs = stage.inputs.iter();
        inputs.any(|input| input.source == Source::Exchange(from))
    };
    let stages = query.stages.iter().enumerate();
    stages
        .filter(move |(_, stage)| reads(stage))
        .map(|(number, _)| group(query, number))
}

/// The topic of a stage's state. Stateless operators over declared streams need none: their input tells all.
pub(crate) fn state(query: &Query, number: usize) -> Option<Arc<str>> {
    let stage = &query.stages[number];
    let keeps = |operation: &Operation| {
        !matches!(
            operation,
            Operation::Map { .. } | Operation::AssignWindows { .. } | Operation::Unnest { .. } | Operation::Union
        )
    };
    let stateful = stage.nodes.iter().any(|node| keeps(&node.operation));
    let exchanges = stage
        .inputs
        .iter()
        .any(|input| matches!(input.source, Source::Exchange(_)));
    (stateful || exchanges).then(|| changelog::topic(&query.name, number))
}

/// Whether a stage has windows in processing time.
pub(crate) fn processing_time(stage: &Stage) -> bool {
    stage.nodes.iter().any(|node| match &node.operation {
        Operation::AssignWindows { time, .. } => time.is_none(),
        Operation::Aggregate(aggregate) => matches!(aggregate.groups, Groups::Windows { time: None, .. }),
        _ => false,
    })
}

/// That something could not be deleted harms nobody: it is tried again later.
pub fn kept_longer(deleted: Result<()>) {
    if let Err(error) = deleted {
        tracing::warn!(%error, "what is not needed any more is kept for now");
    }
}
