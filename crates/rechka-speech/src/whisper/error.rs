//! What can go wrong with a checkpoint or a forward pass.
use std::path::{Path, PathBuf};

/// Why a model could not be loaded or run. Each says its cause itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhisperError {
    /// A file of the checkpoint could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// A file of the checkpoint is not what it should be.
    #[error("{} is not usable: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is missing, or has another shape or type than the configuration asks for.
    #[error("tensor {tensor:?} in {}: {reason}", path.display())]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// The file it is in, or should be in.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The request does not fit the model: too long a window, an unknown token, a full cache.
    #[error("{0}")]
    Request(String),
    /// The threads for the computation could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

impl WhisperError {
    pub(crate) fn read(path: &Path, cause: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            cause,
        }
    }

    pub(super) fn invalid(path: &Path, reason: impl ToString) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn tensor(tensor: &str, path: &Path, reason: impl ToString) -> Self {
        Self::Tensor {
            tensor: tensor.to_owned(),
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
