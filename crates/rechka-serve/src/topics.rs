//! The topics that the gateway needs.
use std::time::Duration;

use rechka_log::{Cleanup, Log, LogError, Partition, Result, Retention, TopicSpec};
use rechka_types::topics;

use crate::session::SESSIONS;

/// The topics between the gateway and a recogniser, with so many partitions each.
///
/// A session has the same partition number in all of them.
pub fn topic_specs(partitions: Partition) -> Vec<TopicSpec> {
    let short = Retention {
        age: Some(Duration::from_secs(600)),
        bytes: Some(64 * 1024 * 1024),
    };
    vec![
        TopicSpec::new(topics::AUDIO, partitions),
        TopicSpec::new(topics::TRANSCRIPTS, partitions),
        TopicSpec {
            retention: short,
            ..TopicSpec::new(topics::PARTIALS, partitions)
        },
        TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(SESSIONS, 1)
        },
    ]
}

/// Creates the topics that are missing; returns the number of partitions that audio has.
pub(crate) fn ensure(log: &dyn Log, partitions: Partition) -> Result<Partition> {
    let existing = log.topics()?;
    let find = |name: &str| existing.iter().find(|spec| &*spec.name == name);
    let partitions = find(topics::AUDIO).map_or(partitions, |spec| spec.partitions);
    for spec in topic_specs(partitions) {
        match find(&spec.name) {
            None => log.create_topic(&spec)?,
            Some(found) if found.partitions != spec.partitions => {
                return Err(LogError::TopicDiffers {
                    topic: spec.name.to_string(),
                    difference: format!(
                        "it has {} partitions, but {} are needed, as many as {:?} has",
                        found.partitions,
                        spec.partitions,
                        topics::AUDIO
                    ),
                });
            }
            Some(_) => {}
        }
    }
    Ok(partitions)
}
