use datafusion::{
    common::SchemaError,
    error::DataFusionError,
    sql::sqlparser::{parser::ParserError, tokenizer::Location},
};

use crate::nearest::nearest;

/// What is wrong with a text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: u64,
        /// Counted from 1, in characters.
        column: u64,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// It can be read, but means nothing that can be done.
    #[error("{0}")]
    Plan(String),
}

impl Error {
    pub(crate) fn syntax(at: Location, message: impl Into<String>) -> Self {
        Self::Syntax {
            line: at.line,
            column: at.column,
            message: message.into(),
        }
    }

    /// The parser puts the place at the end of its message, if it knows it.
    pub(crate) fn from_parser(error: ParserError, end: Location) -> Self {
        let message = match error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
            ParserError::RecursionLimitExceeded => "nested too deeply: break it up by subqueries".to_owned(),
        };
        let placed = message.rsplit_once(" at Line: ").and_then(|(message, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            Some((
                message,
                Location {
                    line: line.parse().ok()?,
                    column: column.parse().ok()?,
                },
            ))
        });
        match placed {
            Some((message, at)) if at.line > 0 => Self::syntax(at, message),
            Some((message, _)) => Self::syntax(end, message),
            None => Self::syntax(end, message.replace("found: EOF", "found the end")),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let place = error
            .diagnostic()
            .and_then(|diagnostic| diagnostic.span)
            .map(|span| span.start);
        let message = match error.find_root() {
            DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => message.clone(),
            DataFusionError::SchemaError(schema, _) => column_not_found(schema).unwrap_or_else(|| schema.to_string()),
            DataFusionError::Diagnostic(diagnostic, _) => diagnostic.message.clone(),
            other => other.strip_backtrace(),
        };
        match place {
            Some(place) => Self::Syntax {
                line: place.line,
                column: place.column,
                message,
            },
            None => Self::Plan(message),
        }
    }
}

fn column_not_found(error: &SchemaError) -> Option<String> {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return None;
    };
    let names = || valid_fields.iter().map(|column| column.name.as_str());
    Some(match nearest(&field.name, names()) {
        Some(near) => format!("there is no column {}; did you mean {near}?", field.flat_name()),
        None => format!(
            "there is no column {}; there are {}",
            field.flat_name(),
            names().collect::<Vec<_>>().join(", ")
        ),
    })
}
