//! Places where tests interrupt a task.
use std::{fmt, sync::Arc};

use crate::Result;

/// A step of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Records were read.
    Push,
    /// The processor has taken them.
    Pushed,
    /// The epoch is about to end.
    EndEpoch,
    /// The operators have ended it; its output is about to be encoded.
    Encode,
    /// What it writes is complete, and nothing of it written.
    Commit,
    /// One half is written, the other not (not when delivery is exactly once).
    HalfCommitted,
    /// All is written, and the processor does not know yet.
    Committed,
}

/// Called at every [`Step`]. An error, or a panic, ends the task there, as a crash would.
#[derive(Clone, Default)]
pub struct Failpoint(Option<Arc<dyn Fn(Step) -> Result<()> + Send + Sync>>);

impl Failpoint {
    /// A failpoint that does this.
    pub fn new(at: impl Fn(Step) -> Result<()> + Send + Sync + 'static) -> Self {
        Failpoint(Some(Arc::new(at)))
    }

    pub(crate) fn reach(&self, step: Step) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |at| at(step))
    }
}

impl fmt::Debug for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoint" } else { "no Failpoint" })
    }
}
