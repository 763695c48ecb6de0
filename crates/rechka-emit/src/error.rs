use std::{path::PathBuf, sync::Arc};

use rechka_log::LogError;

/// A sink's result.
pub type Result<T> = std::result::Result<T, EmitError>;

/// Why a sink can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file could not be written.
    #[error("can't write {path}: {reason}; is there room, and may this user write there?", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The folder has files of this sink's name that were made from another log, and would be replaced.
    #[error("{path} was written from another log: move the files of the sink {sink} away, or give it another name or folder", path = path.display())]
    Foreign {
        /// The sink.
        sink: Arc<str>,
        /// One of the files.
        path: PathBuf,
    },
    /// Records of the sink's topic are not what this program writes.
    #[error("the records of sink {sink} at {place} can't be read: {reason}")]
    Records {
        /// The sink.
        sink: Arc<str>,
        /// Partition and offset.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
    /// The sink's thread ended by a panic: an error in this program.
    #[error("a sink ended by a panic: please report it with what was printed before")]
    Panicked,
}
