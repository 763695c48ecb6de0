//! What can go wrong.
use rechka_log::LogError;

/// A store's result.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a view can't be kept or answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no view of this name.
    #[error("there is no view {name:?}; {}", list(.known))]
    UnknownView {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The view has no such column.
    #[error("view {view:?} has no column {column:?}; its columns are {}", .columns.join(", "))]
    UnknownColumn {
        /// The view.
        view: String,
        /// What was asked for.
        column: String,
        /// What there is.
        columns: Vec<String>,
    },
    /// What a column is compared with can't be a value of it, or a key is not one of the view.
    #[error("{0}")]
    Value(String),
    /// The relation is none that can be kept.
    #[error("{0}")]
    Relation(String),
    /// What was written before the process started is still being read.
    #[error("view {view:?} is still being read: {records} records are left; ask again in a moment")]
    NotReady {
        /// The view.
        view: String,
        /// Records that are left, at most.
        records: u64,
    },
    /// More rows than may be copied for one subscriber.
    #[error(
        "{rows} rows of view {view:?} are more than the {limit} that a subscription may begin with: filter by a column"
    )]
    TooManyRows {
        /// The view.
        view: String,
        /// How many there are.
        rows: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The views need more memory than they may have. This one was given up.
    #[error(
        "view {view:?} was given up: the views need more than the {limit} bytes of memory that they may use; raise that limit, \
         or keep fewer keys"
    )]
    TooLarge {
        /// The view that came to the limit.
        view: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The view is no longer followed.
    #[error("view {0:?} was dropped")]
    Dropped(String),
    /// The log refused.
    #[error("the log: {0}")]
    Log(#[from] LogError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "there are none yet: make one with CREATE MATERIALIZED VIEW".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}
