//! Why the gateway could not start or go on.

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The log refused.
    #[error("the log: {0}")]
    Log(#[from] rechka_log::LogError),
    /// The network refused.
    #[error("the network: {0}")]
    Network(#[from] std::io::Error),
}
