//! The pipelines that run over a log, as they were written: kept in the log, so that others know what its topics hold.
use std::{collections::BTreeMap, path::Path, sync::Arc};

use rechka_log::{Append, BatchBuilder, Cleanup, Log, Scan, TopicPartition, TopicSpec};
use rechka_sql::{Mode, Pipeline, Retention, Statement};
use rechka_types::topics::PIPELINES;
use serde::{Deserialize, Serialize};

use crate::{EngineError, Outside, Result, clock};

#[derive(Serialize, Deserialize)]
struct Stored {
    text: String,
    /// The folder that its paths are relative to.
    folder: String,
}

/// Keeps the text of a pipeline under a name; an earlier one of that name is replaced.
pub fn publish(log: &dyn Log, name: &str, text: &str, folder: &Path) -> Result<()> {
    log.create_topic(&TopicSpec {
        cleanup: Cleanup::Compact,
        ..TopicSpec::new(PIPELINES, 1)
    })?;
    let stored = Stored {
        text: text.to_owned(),
        folder: folder.to_string_lossy().into_owned(),
    };
    let value = serde_json::to_vec(&stored).map_err(|error| EngineError::Query(error.to_string()))?;
    let mut batch = BatchBuilder::new();
    batch.push(Some(name.as_bytes()), &value, clock::now() / 1000, &[])?;
    log.append(vec![Append {
        to: TopicPartition::new(PIPELINES, 0),
        batch: batch.finish(),
    }])?
    .wait()?;
    Ok(())
}

/// Makes the topics of a pipeline that are to keep their records for some time only, unless they are there.
pub fn create_topics(log: &dyn Log, pipeline: &Pipeline) -> Result<()> {
    let existing = log.topics()?;
    for Retention { topic, partitions, age } in &pipeline.retentions {
        if !existing.iter().any(|spec| spec.name == *topic) {
            let retention = rechka_log::Retention {
                age: Some(*age),
                bytes: None,
            };
            log.create_topic(&TopicSpec {
                retention,
                ..TopicSpec::new(Arc::clone(topic), *partitions)
            })?;
        }
    }
    Ok(())
}

/// All pipelines as one, so that queries can use the names that they declare. One that can't be read any more is left out, and so
/// is a statement whose name is taken; both are logged.
pub fn published(log: &dyn Log) -> Result<Pipeline> {
    let mut all = Pipeline::new(Mode::Stream, "");
    for (name, stored) in stored(log)? {
        let outside = Outside::new(&stored.folder).over(log)?;
        let statements = match Statement::parse_with(&stored.text, &outside) {
            Ok(statements) => statements,
            Err(error) => {
                tracing::warn!(pipeline = name, %error, "a stored pipeline can't be read");
                continue;
            }
        };
        all.set_folder(&stored.folder);
        for statement in statements {
            if let Err(error) = all.execute(statement) {
                tracing::warn!(pipeline = name, %error, "a statement of a stored pipeline is left out");
            }
        }
    }
    Ok(all)
}

fn stored(log: &dyn Log) -> Result<BTreeMap<String, Stored>> {
    let mut found = BTreeMap::new();
    if !log.topics()?.iter().any(|topic| &*topic.name == PIPELINES) {
        return Ok(found);
    }
    let partition = TopicPartition::new(PIPELINES, 0);
    let offsets = log.offsets(&partition)?;
    let mut scan = Scan::open(log, &partition, offsets)?;
    while let Some(fetched) = scan.read()? {
        for record in fetched.batch.iter() {
            let name = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
            match serde_json::from_slice(record.value) {
                Ok(stored) => found.insert(name, stored),
                Err(_) => found.remove(&name),
            };
        }
    }
    Ok(found)
}
