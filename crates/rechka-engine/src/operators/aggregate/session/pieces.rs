//! Pieces of sessions.
use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::{filter, filter_record_batch},
    datatypes::DataType,
};

use crate::{
    Result,
    operators::{
        Output,
        aggregate::{
            functions::Arguments,
            groups::batch,
            late::LateRows,
            merger::{Merger, Spans},
            panes::Span,
        },
    },
};

/// Rows, each of which is a session, or sessions of a phase before.
pub(super) struct Pieces {
    /// The key columns.
    pub keys: Vec<ArrayRef>,
    pub spans: Vec<Span>,
    pub content: Content,
}

/// What pieces of sessions are.
pub(super) enum Content {
    Rows {
        rows: RecordBatch,
        /// The type of their times if they have some.
        time: Option<DataType>,
        /// What the functions get of them.
        arguments: Vec<Arguments>,
    },
    /// States of the functions.
    States(Vec<ArrayRef>),
}

impl Pieces {
    /// Some of them.
    pub fn only(&self, which: &BooleanArray) -> Result<Pieces> {
        let columns = |columns: &[ArrayRef]| {
            columns
                .iter()
                .map(|column| Ok(filter(column, which)?))
                .collect::<Result<_>>()
        };
        Ok(Pieces {
            keys: columns(&self.keys)?,
            spans: self
                .spans
                .iter()
                .zip(which.values())
                .filter(|(_, which)| *which)
                .map(|(span, _)| *span)
                .collect(),
            content: match &self.content {
                Content::Rows { rows, time, arguments } => Content::Rows {
                    rows: filter_record_batch(rows, which)?,
                    time: time.clone(),
                    arguments: arguments.iter().map(|of| of.only(which)).collect::<Result<_>>()?,
                },
                Content::States(states) => Content::States(columns(states)?),
            },
        })
    }

    /// Puts out those that are late, of which `sessions` are the sessions that they missed. Of pieces that are not rows any more
    /// goes out what the functions make of each.
    pub fn put_out_late(&self, sessions: &[Option<Span>], merger: &mut Merger, out: &mut Output) -> Result<()> {
        match &self.content {
            Content::Rows {
                rows, time: Some(time), ..
            } => {
                let mut rows = LateRows::new(rows, time);
                for (row, session) in sessions.iter().enumerate().filter(|(_, session)| session.is_some()) {
                    rows.push(row, *session, out)?;
                }
                rows.flush(out)
            }
            // By the clock nothing is late.
            Content::Rows { time: None, .. } => Ok(()),
            Content::States(states) => {
                let late: BooleanArray = sessions.iter().map(|session| Some(session.is_some())).collect();
                let columns = self.keys.iter().chain(states);
                let columns = columns.map(|column| Ok(filter(column, &late)?));
                let sessions: Vec<Span> = sessions.iter().copied().flatten().collect();
                let groups = batch(&merger.layout().groups, columns.collect::<Result<_>>()?, sessions.len())?;
                if !sessions.is_empty() {
                    let rows = merger.put_out(Spans::Each(&sessions), &[groups], &mut out.dead)?;
                    out.late.push(rows);
                }
                Ok(())
            }
        }
    }
}
