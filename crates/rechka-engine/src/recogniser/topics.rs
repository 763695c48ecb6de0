//! The topics that a recogniser needs.
use std::time::Duration;

use rechka_log::{Cleanup, Log, LogError, Partition, Retention, TopicSpec};
use rechka_types::topics;

use super::stored::STATE;
use crate::Result;

/// Makes the topics that are missing, all with as many partitions as audio has: a session has the same number in each.
pub(super) fn ensure(log: &dyn Log, partitions: Partition) -> Result<()> {
    let existing = log.topics()?;
    let find = |name: &str| existing.iter().find(|spec| &*spec.name == name);
    let partitions = find(topics::AUDIO).map_or(partitions.max(1), |spec| spec.partitions);
    let short = Retention {
        age: Some(Duration::from_secs(600)),
        bytes: Some(64 << 20),
    };
    let specs = [
        TopicSpec::new(topics::AUDIO, partitions),
        TopicSpec::new(topics::TRANSCRIPTS, partitions),
        TopicSpec {
            retention: short,
            ..TopicSpec::new(topics::PARTIALS, partitions)
        },
        TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(STATE, partitions)
        },
        TopicSpec::new(topics::dead(topics::AUDIO), partitions),
    ];
    for spec in specs {
        match find(&spec.name) {
            None => log.create_topic(&spec)?,
            Some(found) if found.partitions != spec.partitions => {
                let difference = format!(
                    "it has {} partitions, but {} are needed, as many as {:?} has",
                    found.partitions,
                    spec.partitions,
                    topics::AUDIO
                );
                return Err(LogError::TopicDiffers {
                    topic: spec.name.to_string(),
                    difference,
                }
                .into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}
