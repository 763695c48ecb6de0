//! `rechka topics`.
use std::io::Write;

use anyhow::Result;
use rechka_log::{Cleanup, TopicPartition, TopicSpec};

use crate::cli::Topics;

/// Prints a table of the topics.
pub fn run(arguments: &Topics) -> Result<()> {
    let log = arguments.log.log.open_read_only()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<32} {:>10} {:>12}  KEEPS", "TOPIC", "PARTITIONS", "RECORDS")?;
    for topic in log.topics()? {
        let mut records = 0;
        for partition in 0..topic.partitions {
            let range = log.offsets(&TopicPartition::new(topic.name.clone(), partition))?;
            records += range.end - range.start;
        }
        writeln!(
            out,
            "{:<32} {:>10} {:>12}  {}",
            topic.name,
            topic.partitions,
            records,
            keeps(&topic)
        )?;
    }
    Ok(())
}

fn keeps(topic: &TopicSpec) -> String {
    let mut bounds = Vec::new();
    if topic.cleanup == Cleanup::Compact {
        bounds.push("the last record of every key".to_owned());
    }
    if let Some(age) = topic.retention.age {
        bounds.push(format!("{} s", age.as_secs()));
    }
    if let Some(bytes) = topic.retention.bytes {
        bounds.push(format!("{} MiB a partition", bytes >> 20));
    }
    if bounds.is_empty() {
        "everything".to_owned()
    } else {
        bounds.join(", ")
    }
}
