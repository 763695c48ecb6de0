//! From SQLite's errors to the log's.
use rusqlite::{Error, ErrorCode};

use crate::LogError;

impl From<Error> for LogError {
    fn from(error: Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Storage(
                "the disk that holds the log is full: free some space, or set a retention on large topics".to_owned(),
            ),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(format!("the log's file: {error}"))
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Storage(format!(
                "the log's file cannot be opened (does it exist, and may this user read and write its directory?): {error}"
            )),
            _ => Self::Storage(format!("the log's storage failed: {error}")),
        }
    }
}

/// After this error of a COMMIT nobody knows what the disk holds: only another look at it, after a restart, can tell.
pub(super) fn leaves_doubt(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt)
    )
}
