//! `rechka produce`: lines, sound files or the microphone in, records out.
mod file;
mod lines;
mod microphone;
mod place;
mod speaker;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use rechka_log::{Log, TopicSpec};
use rechka_types::topics;

use crate::cli::Produce;

/// Partitions of a topic of sound that is made: each speaker is in one.
const SOUND_PARTITIONS: u32 = 4;

/// Appends what the arguments name; returns when all of it is durable.
pub fn run(arguments: &Produce) -> Result<()> {
    let is_sound = arguments.mic || !arguments.files.is_empty();
    if arguments.session.is_some() && arguments.files.len() > 1 {
        bail!("each file is a session: give --session with one file, or leave it out");
    }
    let log = arguments.log.log.open()?;
    let name = arguments.topic.as_deref().unwrap_or(topics::AUDIO);
    let partitions = arguments
        .partitions
        .unwrap_or(if is_sound { SOUND_PARTITIONS } else { 1 });
    let topic = topic(&*log, name, partitions)?;
    if arguments.mic {
        return microphone::append(log, &topic, arguments.session.as_deref());
    }
    for path in &arguments.files {
        file::append(&log, &topic, path, arguments.session.as_deref(), arguments.speed)?;
    }
    if !is_sound {
        lines::append(&*log, &topic, arguments.key_separator.as_deref())?;
    }
    Ok(())
}

/// The topic as it is; it is made when it does not exist.
fn topic(log: &dyn Log, name: &str, partitions: u32) -> Result<TopicSpec> {
    let existing = log.topics()?.into_iter().find(|topic| *topic.name == *name);
    if let Some(topic) = existing {
        return Ok(topic);
    }
    let topic = TopicSpec::new(Arc::from(name), partitions);
    log.create_topic(&topic)?;
    Ok(topic)
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
