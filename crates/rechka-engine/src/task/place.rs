//! Where a task is in its partitions, and how it goes back to the last committed epoch.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use rechka_log::{LogError, Partition};

use super::{DELETED, RETRY, Task, WAIT};
use crate::{EngineError, Processor, Result};

impl<P: Processor> Task<P> {
    /// After an error of the log: waits, and goes back to the last committed epoch, until that succeeds.
    pub(super) fn recover(&mut self, mut error: LogError, stop: &AtomicBool) -> Result<()> {
        loop {
            self.tell(&error);
            self.processor.failed(&error);
            // Nothing of what the processor made since then may be committed, should the task stop here.
            self.fenced = true;
            let since = Instant::now();
            while since.elapsed() < RETRY {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                thread::sleep(WAIT);
            }
            match self.rewind() {
                Err(EngineError::Log(again)) if may_pass(&again) => error = again,
                result => return result,
            }
        }
    }

    /// Tells of a failure, but not of the same again, until an epoch is committed.
    fn tell(&mut self, error: &LogError) {
        let (group, text) = (&*self.settings.group, error.to_string());
        if self.trouble.as_ref() == Some(&text) {
            tracing::debug!(group, text, "the log still fails");
            return;
        }
        tracing::error!(
            group,
            "the log failed: {text}; trying again from the last committed epoch"
        );
        self.trouble = Some(text);
    }

    /// Forgets everything since the last committed epoch, and restores that.
    pub(super) fn rewind(&mut self) -> Result<()> {
        for (partition, next) in &mut self.assigned {
            *next = None;
            self.processor.revoked(*partition);
        }
        self.restore()?;
        self.pushed = false;
        self.fenced = false;
        Ok(())
    }

    /// Restores the partitions that are not.
    pub(super) fn restore(&mut self) -> Result<()> {
        let missing: Vec<Partition> = self
            .assigned
            .iter()
            .filter(|(_, next)| next.is_none())
            .map(|(partition, _)| *partition)
            .collect();
        for partition in missing {
            let (mut next, mut deleted) = (Vec::with_capacity(self.settings.topics.len()), Vec::new());
            for name in self.partitions(partition) {
                let start = self.log.offsets(&name)?.start;
                let committed = self.log.committed(&self.settings.group, &name)?.unwrap_or(start);
                let offset = committed.max(start);
                self.member.seek(&name, offset)?;
                if !self.congested.contains(&partition) {
                    self.member.resume(std::slice::from_ref(&name))?;
                }
                next.push(offset);
                if committed < start {
                    deleted.push((name, committed..start));
                }
            }
            self.processor.assigned(partition, &next)?;
            self.assigned.insert(partition, Some(next));
            for (name, offsets) in deleted {
                self.processor.lost(&name, offsets, DELETED)?;
                self.pushed = true;
            }
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
        self.congested.remove(&partition);
        self.processor.revoked(partition);
    }
}

/// Whether the log may do later what it can't do now. What it was asked wrongly it never will.
pub(super) fn may_pass(error: &LogError) -> bool {
    !matches!(
        error,
        LogError::Closed | LogError::Invalid(_) | LogError::NameTaken { .. }
    )
}
