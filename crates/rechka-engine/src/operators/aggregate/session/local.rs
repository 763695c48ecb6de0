//! The sessions of one epoch.
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::HashMap;

use super::{
    open::Open,
    pieces::{Content, Pieces},
};
use crate::{
    Result,
    operators::{
        Output,
        aggregate::{functions::Accumulators, keys::Keys, merger::Merger, panes::Span},
    },
};

/// No session.
const NONE: u32 = u32::MAX;

/// What becomes of pieces behind a watermark.
#[derive(Clone, Copy)]
pub(super) enum Behind {
    /// Nothing special.
    Joins,
    /// Those that end at the watermark or before wait until [`Local::settle`], unless they meet a session at once.
    Waits(i64),
    /// Those that begin before it stay sessions of their own, so that the next phase can judge each.
    Alone(i64),
}

/// The sessions that the rows of an epoch make. Some may still overlap.
pub(super) struct Local {
    keys: Keys,
    accumulators: Accumulators,
    /// The key and the time of each session.
    sessions: Vec<(u32, Span)>,
    /// Of each key the newest session.
    newest: Vec<u32>,
    /// What is late unless its session goes on: with the keys' numbers.
    suspects: Vec<(Pieces, Vec<u32>)>,
}

/// The sessions of an epoch with their states.
pub(super) struct Sealed {
    pub keys: Vec<ArrayRef>,
    pub count: usize,
    /// The number of the key and the time of each session.
    pub sessions: Vec<(u32, Span)>,
    pub states: Vec<ArrayRef>,
}

impl Local {
    pub fn new(merger: &Merger) -> Result<Self> {
        Ok(Local {
            keys: Keys::new(&merger.layout().keys)?,
            accumulators: Accumulators::new(Arc::clone(merger.functions()))?,
            sessions: Vec::new(),
            newest: Vec::new(),
            suspects: Vec::new(),
        })
    }

    /// Takes pieces. Those behind the watermark are kept apart as `behind` says.
    pub fn add(&mut self, pieces: Pieces, behind: Behind) -> Result<()> {
        let mut groups = Vec::new();
        self.keys.intern(&pieces.keys, pieces.spans.len(), &mut groups)?;
        self.newest.resize(self.keys.len(), NONE);
        let mut on_time = Vec::new();
        for (row, (group, span)) in groups.iter_mut().zip(&pieces.spans).enumerate() {
            let key = *group;
            let newest = &mut self.newest[key];
            match (self.sessions.get_mut(*newest as usize), behind) {
                (_, Behind::Alone(watermark)) if span.start < watermark => {
                    *group = self.sessions.len();
                    self.sessions.push((key as u32, *span));
                    continue;
                }
                (Some((_, session)), _) if session.overlaps(*span) => session.extend(*span),
                (_, Behind::Waits(watermark)) if span.end <= watermark => {
                    // The group stays the key.
                    if on_time.is_empty() {
                        on_time.resize(pieces.spans.len(), true);
                    }
                    on_time[row] = false;
                    continue;
                }
                _ => {
                    *newest = self.sessions.len() as u32;
                    self.sessions.push((key as u32, *span));
                }
            }
            *group = *newest as usize;
        }
        if on_time.is_empty() {
            return self.update(&pieces.content, &groups);
        }
        let suspect: BooleanArray = on_time.iter().map(|on_time| Some(!on_time)).collect();
        let keys = groups
            .iter()
            .zip(&on_time)
            .filter(|(_, on_time)| !**on_time)
            .map(|(key, _)| *key as u32)
            .collect();
        self.suspects.push((pieces.only(&suspect)?, keys));
        let groups: Vec<_> = groups
            .into_iter()
            .zip(&on_time)
            .filter(|(_, on_time)| **on_time)
            .map(|(group, _)| group)
            .collect();
        self.update(&pieces.only(&on_time.into())?.content, &groups)
    }

    fn update(&mut self, content: &Content, groups: &[usize]) -> Result<()> {
        match content {
            Content::Rows { arguments, .. } => self.accumulators.update(arguments, groups, self.sessions.len()),
            Content::States(states) => self.accumulators.merge(states, groups, self.sessions.len()),
        }
    }

    /// Finds out what is late of what waits: all whose sessions, merged with the open ones, end at the watermark or
    /// before.
    pub fn settle(&mut self, open: &mut Open, merger: &mut Merger, watermark: i64, out: &mut Output) -> Result<()> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let suspects = std::mem::take(&mut self.suspects);
        let mut sessions: HashMap<u32, Vec<Span>> = HashMap::new();
        for (pieces, keys) in &suspects {
            let open = open.of_keys(&pieces.keys, pieces.spans.len())?;
            for ((key, span), open) in keys.iter().zip(&pieces.spans).zip(open) {
                sessions.entry(*key).or_insert(open).push(*span);
            }
        }
        for (key, span) in &self.sessions {
            sessions.entry(*key).and_modify(|spans| spans.push(*span));
        }
        sessions.values_mut().for_each(merge);
        for (pieces, keys) in suspects {
            // The session that each piece is in, if that is late.
            let session = |(key, piece): (&u32, &Span)| {
                let sessions = sessions.get(key).into_iter().flatten();
                sessions
                    .copied()
                    .find(|session| session.overlaps(*piece))
                    .filter(|session| session.end <= watermark)
            };
            let late: Vec<Option<Span>> = keys.iter().zip(&pieces.spans).map(session).collect();
            pieces.put_out_late(&late, merger, out)?;
            let saved: BooleanArray = late.iter().map(|late| Some(late.is_none())).collect();
            self.add(pieces.only(&saved)?, Behind::Joins)?;
        }
        Ok(())
    }

    /// The sessions of the epoch; none is left.
    pub fn seal(&mut self) -> Result<Sealed> {
        self.newest.clear();
        let states = match self.sessions.len() {
            0 => Vec::new(),
            _ => self.accumulators.states()?,
        };
        let count = self.keys.len();
        Ok(Sealed {
            keys: self.keys.take()?,
            count,
            sessions: std::mem::take(&mut self.sessions),
            states,
        })
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.keys.size() + self.accumulators.size() + self.sessions.capacity() * 24 + self.newest.capacity() * 4
    }
}

/// Makes one of those that overlap.
fn merge(spans: &mut Vec<Span>) {
    spans.sort_by_key(|span| span.start);
    spans.dedup_by(|next, span| {
        let overlaps = span.overlaps(*next);
        if overlaps {
            span.extend(*next);
        }
        overlaps
    });
}
