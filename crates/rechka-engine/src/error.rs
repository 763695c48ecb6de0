//! What can go wrong.
use std::sync::Arc;

use rechka_log::LogError;

/// The engine's result.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Why a task stopped.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// State in the log is not what this program writes.
    #[error(
        "the state of {key:?} in topic {topic:?} can't be read: {reason}; run the program that wrote it, or begin anew with another log"
    )]
    State {
        /// The topic.
        topic: String,
        /// The record's key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// What earlier runs of a query have left in the log does not fit the query.
    #[error("the query {query:?} can't go on where it was: {reason}; to begin anew, give it another name")]
    Unfit {
        /// The query.
        query: Arc<str>,
        /// What does not fit.
        reason: String,
    },
    /// An expression can't be computed for a row: say, a division by zero. What failed has changed nothing, so the other rows can
    /// be tried without that one.
    #[error("{0}")]
    Expression(String),
    /// The query can't be run, or an error in this program.
    #[error("{0}")]
    Query(String),
    /// A model can't be had.
    #[error("the model {model:?} can't be had: {reason}")]
    Model {
        /// What was asked for.
        model: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
    /// A task's thread ended by a panic: an error in this program.
    #[error("a task ended by a panic: please report it with what was printed before")]
    Panicked,
}

impl From<rechka_formats::FormatError> for EngineError {
    fn from(error: rechka_formats::FormatError) -> Self {
        EngineError::Query(error.to_string())
    }
}

impl From<datafusion::error::DataFusionError> for EngineError {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        EngineError::Query(error.to_string())
    }
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        EngineError::Query(error.to_string())
    }
}

impl From<rechka_sql::Error> for EngineError {
    fn from(error: rechka_sql::Error) -> Self {
        EngineError::Query(error.to_string())
    }
}

impl From<EngineError> for datafusion::error::DataFusionError {
    fn from(error: EngineError) -> Self {
        datafusion::error::DataFusionError::External(Box::new(error))
    }
}
