/// What can't be done with a format.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The format has no place for a column of this type.
    #[error("the format {format} can't hold the column {column:?} of type {data_type}: {instead}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The column.
        column: String,
        /// Its type.
        data_type: arrow::datatypes::DataType,
        /// What to write instead.
        instead: &'static str,
    },
    /// The columns do not suit the format.
    #[error("the format {format} {reason}")]
    Columns {
        /// The format.
        format: &'static str,
        /// What it needs.
        reason: String,
    },
    /// The schema registry can't be asked at the moment: what needs it may be tried again.
    #[error("{0}")]
    Registry(String),
    /// Rows that can't be written.
    #[error("can't write {format}: {reason}")]
    Encode {
        /// The format.
        format: &'static str,
        /// What is in the way.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, FormatError>;
