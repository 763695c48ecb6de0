//! Deletes what exchanges have brought to all stages that read them.
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use rechka_log::{Offset, Partition, TopicPartition};
use rechka_sql::plan::Source;

use super::context::{self, StageContext};
use crate::Result;

/// Purges on a thread of its own: while a broker is away, deleting takes as long as the log is patient, and results must not wait for it.
pub(super) struct Purge {
    last: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Purge {
    pub fn new() -> Self {
        Purge {
            last: Instant::now(),
            thread: None,
        }
    }

    /// Begins if it is time, and the last one is over.
    pub fn begin(&mut self, context: &Arc<StageContext>, partitions: impl Iterator<Item = Partition>) {
        let over = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        if !over || self.last.elapsed() < context.purge || !reads_exchanges(context) {
            return;
        }
        self.last = Instant::now();
        let (context, partitions) = (context.clone(), partitions.collect::<Vec<_>>());
        let purge = move || context::kept_longer(purge(&context, &partitions));
        let thread = thread::Builder::new().name("purge".to_owned()).spawn(purge);
        self.thread = thread
            .inspect_err(|error| tracing::warn!(%error, "cannot start a thread"))
            .ok();
    }
}

impl Drop for Purge {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It has told what went wrong.
            let _ = thread.join();
        }
    }
}

fn reads_exchanges(context: &StageContext) -> bool {
    let mut inputs = context.stage().inputs.iter();
    inputs.any(|input| matches!(input.source, Source::Exchange(_)))
}

fn purge(context: &StageContext, partitions: &[Partition]) -> Result<()> {
    for (topic, inputs) in &context.topics {
        let Some(Source::Exchange(from)) = inputs.first().map(|&input| &context.stage().inputs[input].source) else {
            continue;
        };
        for &partition in partitions {
            let name = TopicPartition::new(topic.clone(), partition);
            let mut least = Offset::MAX;
            for group in context::readers(&context.query, *from) {
                least = least.min(context.log.committed(&group, &name)?.unwrap_or_default());
            }
            context.log.delete_before(&name, least)?;
        }
    }
    Ok(())
}
