//! Why the gateway could not start or go on.

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The log refused.
    #[error(transparent)]
    Log(#[from] rechka_log::LogError),
    /// The operating system refused a connection or a thread.
    #[error(transparent)]
    System(#[from] std::io::Error),
}
