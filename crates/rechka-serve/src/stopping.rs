//! The signal that the gateway stops.
use tokio::sync::watch;

/// Gives the signal.
pub(crate) struct Stop(watch::Sender<bool>);

/// Hears the signal.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

/// The two ends of the signal.
pub(crate) fn signal() -> (Stop, Stopping) {
    let (stop, stopping) = watch::channel(false);
    (Stop(stop), Stopping(stopping))
}

impl Stop {
    /// Tells all who listen.
    pub fn now(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Waits until the gateway stops. May be dropped while it waits.
    pub async fn wait(&mut self) {
        // Nobody left who could give the signal: the gateway is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether it stops already.
    pub fn is_now(&self) -> bool {
        *self.0.borrow()
    }
}
