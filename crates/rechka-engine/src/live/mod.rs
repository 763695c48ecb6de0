//! A query that is watched while it runs, and leaves nothing behind.
//!
//! Its stages run as ever, over a log that is made of two: what they read is in the log below, of which nothing is changed, so that it
//! may be open read-only; what they write goes to a log of their own, which is thrown away with them.
mod member;
mod overlay;

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use rechka_formats::{Decoder, Format};
use rechka_log::{Batch, BatchBuilder, Log, Reader, TopicPartition, TopicSpec};
use rechka_sql::plan::Query;

use self::overlay::Overlay;
use crate::{Result, RunOptions, RunningQuery, run};

/// From where a watched query reads its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What is stored, and then what comes.
    Start,
    /// What comes from now on.
    Now,
}

/// A query whose rows are watched. Dropping it stops it.
pub struct LiveQuery {
    running: Option<RunningQuery>,
    own: Arc<dyn Log>,
    reader: Box<dyn Reader>,
    decoder: Box<dyn Decoder>,
}

/// Runs a query over `below` without writing there; `own` is an empty log, and of no use behind the query.
///
/// Fails if a stream or a table of the query has no topic yet.
pub fn watch(below: Arc<dyn Log>, own: Arc<dyn Log>, mut query: Query, since: Since) -> Result<LiveQuery> {
    query.result.format = Format::Json;
    let (result, schema) = (query.result.topic.clone(), query.result.schema.clone());
    let partitions = 0..query.result.partitions;
    let overlay = Overlay::new(below, own.clone(), &query, since)?;
    // Where the query begins counts as committed; so its results have to be there too.
    own.create_topic(&TopicSpec::new(result.clone(), partitions.end))?;
    let options = RunOptions {
        // One member for each stage has all of its partitions.
        parallelism: 1,
        attempts: Some(3),
        ..RunOptions::default()
    };
    let running = run(Arc::new(overlay), query, options)?;
    let from = partitions.map(|partition| (TopicPartition::new(result.clone(), partition), 0));
    Ok(LiveQuery {
        running: Some(running),
        reader: own.read(from.collect())?,
        decoder: Format::Json.decoder(&schema, schema.clone())?,
        own,
    })
}

impl LiveQuery {
    /// The next rows; none if none come in this time. Rows of groups that change come again each time they do.
    pub fn next(&mut self, wait: Duration) -> Result<Option<RecordBatch>> {
        if self.running.as_ref().is_none_or(|running| !running.is_running()) {
            return self
                .running
                .take()
                .map_or(Ok(None), |running| running.wait().map(|()| None));
        }
        let Some(fetched) = self.reader.poll(wait)? else {
            return Ok(None);
        };
        self.own.delete_before(&fetched.from, fetched.next_offset())?;
        Ok(Some(self.decoder.decode(&without_deletions(&fetched.batch)?)?.rows))
    }
}

/// A row that is gone is not shown.
fn without_deletions(batch: &Batch) -> Result<Batch> {
    let mut rows = BatchBuilder::new();
    for record in batch.iter().filter(|record| !record.value.is_empty()) {
        rows.push(None, record.value, record.timestamp, &[])?;
    }
    Ok(rows.finish())
}

#[cfg(test)]
mod tests;
