//! The end of an epoch.
use std::time::Instant;

use rechka_log::{CommitError, Epoch, LogError, Offset, Partition, TopicPartition};

use super::Task;
use crate::{Delivery, EngineError, Outcome, Processor, Result, Step};

impl<P: Processor> Task<P> {
    /// Commits the epoch with the place of every partition, so that it is refused whole when one of them is lost.
    pub(super) fn commit(&mut self) -> Result<()> {
        if self.fenced {
            return Ok(()); // Nothing since the refused epoch may be written.
        }
        let outcome = self.processor.output()?;
        self.last_commit = Instant::now();
        if outcome.output.is_empty() && outcome.state.is_empty() && !self.pushed {
            return self.processor.committed();
        }
        match self.write(outcome) {
            Ok(()) => {
                self.settings.failpoint.reach(Step::Committed)?;
                self.pushed = false;
                if self.trouble.take().is_some() {
                    tracing::warn!(group = &*self.settings.group, "the log works again; going on");
                }
                self.processor.committed()
            }
            Err(NotWritten::Fenced(partition)) => {
                tracing::warn!(partition, "another member has this partition now");
                self.forget(partition);
                self.fenced = true;
                Ok(())
            }
            Err(NotWritten::Failed(error)) => Err(error),
        }
    }

    /// Writes what an epoch made, in the order that the delivery level asks for.
    fn write(&mut self, Outcome { output, state }: Outcome) -> std::result::Result<(), NotWritten> {
        self.settings.failpoint.reach(Step::Commit)?;
        let mut epoch = Epoch {
            offsets: self.offsets(),
            appends: state,
        };
        match self.settings.delivery {
            Delivery::ExactlyOnce => {
                epoch.appends.extend(output);
                Ok(self.member.commit(epoch)?)
            }
            Delivery::AtLeastOnce => {
                self.log.append(output)?.wait()?;
                self.settings.failpoint.reach(Step::HalfCommitted)?;
                Ok(self.member.commit(epoch)?)
            }
            Delivery::AtMostOnce => {
                self.member.commit(epoch)?;
                self.settings.failpoint.reach(Step::HalfCommitted)?;
                self.log.append(output)?.wait()?;
                Ok(())
            }
        }
    }

    fn offsets(&self) -> Vec<(TopicPartition, Offset)> {
        let mut offsets = Vec::new();
        for (partition, next) in &self.assigned {
            for (topic, next) in self.settings.topics.iter().zip(next.iter().flatten()) {
                offsets.push((TopicPartition::new(topic.clone(), *partition), *next));
            }
        }
        offsets
    }
}

/// Why an epoch is not written.
enum NotWritten {
    Fenced(Partition),
    Failed(EngineError),
}

impl From<CommitError> for NotWritten {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced(partition) => NotWritten::Fenced(partition),
            CommitError::Log(error) => NotWritten::Failed(error.into()),
        }
    }
}

impl From<LogError> for NotWritten {
    fn from(error: LogError) -> Self {
        NotWritten::Failed(error.into())
    }
}

impl From<EngineError> for NotWritten {
    fn from(error: EngineError) -> Self {
        NotWritten::Failed(error)
    }
}
