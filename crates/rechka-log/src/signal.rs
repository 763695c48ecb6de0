//! What a waiting reader sleeps on.
use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

/// A flag that one thread waits for and others raise. Clear it, look for work, then wait: nothing raised in between is missed.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    condition: Condvar,
}

impl Signal {
    /// Wakes the waiting thread, or keeps the next wait from sleeping.
    pub(crate) fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condition.notify_all();
    }

    pub(crate) fn clear(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Waits until the flag is raised or the deadline has come; false in the second case. No deadline: as long as it takes.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        while !*raised {
            let Some(deadline) = deadline else {
                raised = self.condition.wait(raised).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            raised = self
                .condition
                .wait_timeout(raised, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}
