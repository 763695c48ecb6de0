//! Someone who listens to a view.
use std::sync::{Arc, atomic::Ordering::Relaxed};

use rechka_store::{Result, Subscription};

use super::message::{Message, Messages};
use crate::gateway::Shared;

/// Someone who listens to a view; dropped when they go.
pub(crate) struct Listener {
    subscription: Subscription,
    waiting: Messages,
    shared: Arc<Shared>,
}

impl Listener {
    pub fn new(subscription: Subscription, shared: Arc<Shared>) -> Self {
        shared.metrics.listeners.fetch_add(1, Relaxed);
        Self {
            subscription,
            waiting: Messages::default(),
            shared,
        }
    }

    /// The gateway.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The next message. May be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.waiting.next() {
                self.shared.metrics.events.fetch_add(1, Relaxed);
                return Ok(message);
            }
            self.waiting = Messages::of(self.subscription.next().await?);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.metrics.listeners.fetch_sub(1, Relaxed);
    }
}
