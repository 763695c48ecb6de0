//! What an operator may set.
use std::{sync::Arc, time::Duration};

/// Settings of the gateway. The defaults suit one machine.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Name of the model, shown on the page and told to clients.
    pub model: String,
    /// Partitions of the topics, where the gateway creates them.
    pub partitions: u32,
    /// Names under which browsers may reach the gateway, beside `localhost` and plain IP addresses (DNS rebinding protection).
    pub allowed_hosts: Vec<String>,
    /// Bounds.
    pub limits: Limits,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            model: "unknown".into(),
            partitions: 4,
            allowed_hosts: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Bounds on what clients may ask of the gateway. Whoever reaches one is slowed down or told so.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions open at once, those waiting for their client to come back included.
    pub sessions: usize,
    /// Connections at once, of any kind.
    pub connections: usize,
    /// Bytes of one audio message, its 8-byte frame number included; less where that would be more than a minute of audio.
    pub message_bytes: usize,
    /// Bytes of one session received but not durable yet; more are left in the client's socket.
    pub window_bytes: u64,
    /// Bytes per second of one session that are read (a message counts 256 more than it has); more are left in the client's socket.
    pub bytes_per_second: u64,
    /// How much faster than real time a live session may send in the long run. Files may go as fast as they are acknowledged.
    pub live_speed: f64,
    /// Audio that a live session may send at once: what a client kept while it was disconnected.
    pub live_burst: Duration,
    /// A connection that gives no sign of life (not even an answer to a ping) for so long is closed.
    pub idle: Duration,
    /// A session whose client does not come back within this time is ended.
    pub resume: Duration,
    /// Past sessions known by the list; the oldest are left out.
    pub listed_sessions: usize,
    /// Final segments waiting for one slow listener in memory; more are read from the log again.
    pub pending_finals: usize,
    /// Readers of old audio and old transcripts at once; more have to wait.
    pub readers: usize,
    /// Rows in one answer about a view.
    pub view_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 64,
            connections: 512,
            message_bytes: 256 * 1024,
            window_bytes: 1024 * 1024,
            bytes_per_second: 16 * 1024 * 1024,
            live_speed: 4.0,
            live_burst: Duration::from_secs(120),
            idle: Duration::from_secs(30),
            resume: Duration::from_secs(60),
            listed_sessions: 10_000,
            pending_finals: 256,
            readers: 16,
            view_rows: 100_000,
        }
    }
}

/// What the gateway asks of its neighbours in the same process, such as the recogniser.
pub trait Probe: Send + Sync + 'static {
    /// Name in the answer of `/readyz`.
    fn name(&self) -> &str;
    /// Whether it can do its work now; if not, why.
    fn ready(&self) -> Result<(), String>;
    /// Appends its metrics as Prometheus text, whole lines.
    fn metrics(&self, text: &mut String);
}

/// Probes, shared by the handlers.
pub(crate) type Probes = Arc<[Arc<dyn Probe>]>;
