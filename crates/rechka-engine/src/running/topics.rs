//! The topics of a query.
use std::{collections::BTreeMap, sync::Arc};

use rechka_log::{Cleanup, Log, LogError, Offset, Partition, TopicPartition, TopicSpec};
use rechka_sql::{
    catalog::{Kind, Relation},
    plan::{Input, Output, Query, Source, Stage},
};

use crate::{
    EngineError, Result, recogniser,
    stage::{
        changelog,
        context::{self, Topics},
        late_topic,
    },
};

/// Makes the topics that are missing. `stages`: the topics of each, and the number of its tasks.
pub(super) fn ensure(log: &dyn Log, query: &Query, stages: &[(Topics, Partition)]) -> Result<()> {
    let dead = rechka_types::topics::dead(&query.result.topic);
    let mut specs = vec![
        of_relation(&query.result),
        TopicSpec::new(dead, query.result.partitions),
    ];
    for (number, (stage, (_, tasks))) in query.stages.iter().zip(stages).enumerate() {
        for input in &stage.inputs {
            match &input.source {
                Source::Stream(relation) | Source::Table(relation) if relation.file.is_none() => {
                    specs.push(of_relation(relation));
                    let dead = rechka_types::topics::dead(&relation.topic);
                    specs.push(TopicSpec::new(dead, relation.partitions));
                }
                Source::Stream(_) | Source::Table(_) | Source::Exchange(_) => {}
            }
        }
        if let Output::Exchange { topic, partitions, .. } = &stage.output {
            specs.push(TopicSpec::new(topic.clone(), *partitions));
        }
        if stage.transcribes().is_some() {
            specs.extend(of_recognition(query, number)?.own(*tasks));
        } else if let Some(state) = context::state(query, number) {
            specs.push(TopicSpec::new(state, *tasks));
        }
    }
    let late = query
        .stages
        .iter()
        .zip(stages)
        .filter(|(stage, _)| stage.transcribes().is_none());
    if let Some(most) = late.map(|(_, (_, tasks))| *tasks).max() {
        specs.push(TopicSpec::new(late_topic(&query.name), most));
    }
    let existing = log.topics()?;
    let mut existing: BTreeMap<Arc<str>, Partition> =
        existing.into_iter().map(|spec| (spec.name, spec.partitions)).collect();
    check_result(log, query, stages, &existing)?;
    for spec in specs {
        match existing.insert(spec.name.clone(), spec.partitions) {
            None => log.create_topic(&spec)?,
            Some(partitions) if partitions == spec.partitions => {}
            Some(partitions) => {
                let (topic, needed) = (spec.name.to_string(), spec.partitions);
                let difference = format!(
                    "it has {partitions} partitions, but the query {:?} needs {needed}",
                    query.name
                );
                return Err(LogError::TopicDiffers { topic, difference }.into());
            }
        }
    }
    Ok(())
}

/// Refuses a query that has results which are gone: those that it would go on to write do not stand by themselves.
fn check_result(
    log: &dyn Log,
    query: &Query,
    stages: &[(Topics, Partition)],
    existing: &BTreeMap<Arc<str>, Partition>,
) -> Result<()> {
    let topic = &query.result.topic;
    let Some((inputs, tasks)) = stages.last().filter(|_| !existing.contains_key(topic)) else {
        return Ok(());
    };
    let group = context::group(query, stages.len() - 1);
    for (input, _) in inputs.iter().filter(|(input, _)| existing.contains_key(input)) {
        for partition in 0..*tasks {
            let name = TopicPartition::new(input.clone(), partition);
            if log.committed(&group, &name)?.is_some() {
                return Err(EngineError::Unfit {
                    query: query.name.clone(),
                    reason: format!(
                        "the topic {topic:?} of its results was deleted; to go on with an empty one, create it"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// The stream that a recognition hears.
pub(super) fn audio(stage: &Stage) -> Result<&Relation> {
    match stage.inputs.as_slice() {
        [
            Input {
                source: Source::Stream(audio),
                ..
            },
        ] => Ok(audio),
        _ => Err(EngineError::Query("a recognition hears one stream".into())),
    }
}

/// The topics of the stage of this number, which recognises.
pub(super) fn of_recognition(query: &Query, number: usize) -> Result<recogniser::Topics> {
    let audio = audio(&query.stages[number])?.topic.clone();
    let state = changelog::topic(&query.name, number);
    Ok(recogniser::Topics::new(audio, query.result.topic.clone(), state))
}

fn of_relation(relation: &Relation) -> TopicSpec {
    TopicSpec {
        cleanup: match relation.kind {
            Kind::Stream => Cleanup::Delete,
            Kind::Table | Kind::View => Cleanup::Compact,
        },
        ..TopicSpec::new(relation.topic.clone(), relation.partitions)
    }
}

/// Where the streams that a query reads end now.
pub(super) fn stream_ends(log: &dyn Log, query: &Query) -> Result<BTreeMap<TopicPartition, Offset>> {
    let inputs = query.stages.iter().flat_map(|stage| &stage.inputs);
    let streams = inputs.filter_map(|input| match &input.source {
        Source::Stream(relation) => Some((&relation.topic, relation.partitions)),
        Source::Table(_) | Source::Exchange(_) => None,
    });
    ends(log, streams)
}

/// Where the exchanges of a query end now.
pub(super) fn exchange_ends(log: &dyn Log, query: &Query) -> Result<BTreeMap<TopicPartition, Offset>> {
    let exchanges = query.stages.iter().filter_map(|stage| match &stage.output {
        Output::Exchange { topic, partitions, .. } => Some((topic, *partitions)),
        Output::Result => None,
    });
    ends(log, exchanges)
}

fn ends<'a>(
    log: &dyn Log,
    topics: impl Iterator<Item = (&'a Arc<str>, Partition)>,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let mut ends = BTreeMap::new();
    for (topic, partitions) in topics {
        for partition in 0..partitions {
            let name = TopicPartition::new(topic.clone(), partition);
            let end = log.offsets(&name)?.end;
            ends.insert(name, end);
        }
    }
    Ok(ends)
}
