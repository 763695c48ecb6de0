//! The sessions that wait for more.
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take_arrays,
};

use super::{
    local::Sealed,
    merge::{Merge, Session},
};
use crate::{
    Result,
    operators::aggregate::{groups::batch, keys::Keys, merger::Merger, panes::Span, store::Store},
};

/// No time.
const NEVER: i64 = i64::MAX;

/// So many keys more than twice those that were needed may be kept.
const SLACK: usize = 1024;

/// Open sessions by key, and what is past.
pub(super) struct Open {
    gap: i64,
    keys: Keys,
    /// Of each key its sessions in order; they don't overlap.
    sessions: Vec<Vec<Session>>,
    /// Of each key what is past: a row before its end may reach into a session that is written. It is the last of those, or, with
    /// nothing in it, the moment from which on none can have been forgotten.
    past: Vec<Span>,
    /// What is past for keys that come anew, or without open sessions.
    past_of_new: i64,
    store: Store,
    /// When the sessions of a key must be looked at: at the end of the first, or before.
    due: BinaryHeap<Reverse<(i64, u32)>>,
    /// Of each key the time in `due` that counts.
    next: Vec<i64>,
    /// The number of keys at which to forget those for which nothing is left to know.
    limit: usize,
}

impl Open {
    pub fn new(merger: &Merger, gap: i64) -> Result<Self> {
        Ok(Open {
            gap,
            keys: Keys::new(&merger.layout().keys)?,
            sessions: Vec::new(),
            past: Vec::new(),
            past_of_new: i64::MIN,
            limit: SLACK,
            store: Store::new(&merger.layout().groups),
            due: BinaryHeap::new(),
            next: Vec::new(),
        })
    }

    /// The numbers of keys.
    fn intern(&mut self, keys: &[ArrayRef], count: usize) -> Result<Vec<usize>> {
        let mut numbers = Vec::new();
        self.keys.intern(keys, count, &mut numbers)?;
        self.sessions.resize(self.keys.len(), Vec::new());
        self.next.resize(self.keys.len(), NEVER);
        self.past.resize(self.keys.len(), Span::at(i64::MIN));
        Ok(numbers)
    }

    /// No session that ended before `watermark` less the gap is remembered for keys without open ones: what comes must not reach
    /// so far back.
    pub fn set_past_of_new(&mut self, past: i64) {
        self.past_of_new = past;
    }

    pub fn past_of_new(&self) -> i64 {
        self.past_of_new
    }

    /// Of each piece, with its key, the session that it comes too late for, if it begins in what is past.
    pub fn missed(&mut self, keys: &[ArrayRef], pieces: &[Span]) -> Result<Vec<Option<Span>>> {
        let numbers = self.intern(keys, pieces.len())?;
        let missed = |(key, piece): (usize, &Span)| {
            let past = past(self.past[key], &self.sessions[key], self.past_of_new);
            (piece.start < past.end).then_some(match past.start < past.end && past.overlaps(*piece) {
                true => past,
                false => *piece,
            })
        };
        Ok(numbers.into_iter().zip(pieces).map(missed).collect())
    }

    /// Takes up what is past for keys.
    pub fn remember(&mut self, keys: &[ArrayRef], pasts: &[Span]) -> Result<()> {
        for (key, past) in self.intern(keys, pasts.len())?.into_iter().zip(pasts) {
            if past.end > self.past[key].end {
                self.past[key] = *past;
            }
        }
        Ok(())
    }

    /// What is past, of the keys for which it matters when windows are closed until then.
    pub fn remembered(&mut self, until: i64) -> Result<(Vec<ArrayRef>, Vec<Span>)> {
        let matters = |key: &usize| {
            let past = self.past[*key].end;
            past > i64::MIN && (!self.sessions[*key].is_empty() || past.saturating_add(self.gap) > until)
        };
        let keys: Vec<usize> = (0..self.sessions.len()).filter(matters).collect();
        let pasts = keys.iter().map(|key| self.past[*key]).collect();
        let numbers = keys.iter().map(|key| *key as u32).collect::<Vec<_>>();
        let keys = take_arrays(&self.keys.columns()?, &UInt32Array::from(numbers), None)?;
        Ok((keys, pasts))
    }

    /// The open sessions of keys.
    pub fn of_keys(&mut self, keys: &[ArrayRef], count: usize) -> Result<impl Iterator<Item = Vec<Span>>> {
        let numbers = self.intern(keys, count)?;
        Ok(numbers
            .into_iter()
            .map(|key| self.sessions[key].iter().map(|session| session.span).collect()))
    }

    /// Merges the sessions of an epoch with the open ones; gives those that are new or changed.
    pub fn add(&mut self, local: Sealed, merger: &Merger) -> Result<(Vec<Span>, RecordBatch)> {
        let keys = self.intern(&local.keys, local.count)?;
        let mut order: Vec<u32> = (0..local.sessions.len() as u32).collect();
        order.sort_unstable_by_key(|session| {
            let (key, span) = local.sessions[*session as usize];
            (key, span.start)
        });
        let mut merge = Merge::new(&mut self.store, local.sessions.len());
        let mut changed: Vec<u32> = Vec::new();
        for of_key in order.chunk_by(|a, b| local.sessions[*a as usize].0 == local.sessions[*b as usize].0) {
            let key = local.sessions[of_key[0] as usize].0;
            let (past_before, sessions) = (
                &mut self.past[keys[key as usize]],
                &mut self.sessions[keys[key as usize]],
            );
            *past_before = past(*past_before, sessions, self.past_of_new);
            let new = of_key
                .iter()
                .map(|session| (*session, local.sessions[*session as usize].1));
            *sessions = merge.key(sessions, new);
            changed.resize(merge.spans.len(), key);
        }
        let count = changed.len();
        if count == 0 {
            return Ok((Vec::new(), RecordBatch::new_empty(Arc::clone(&merger.layout().groups))));
        }
        let Merge {
            spans,
            numbers,
            old,
            old_groups,
            new_groups,
            gone,
            ..
        } = merge;
        for key in &changed {
            self.schedule(keys[*key as usize]);
        }
        let mut columns = take_arrays(&local.keys, &UInt32Array::from(changed), None)?;
        let old = self.store.get(&old)?;
        let old = &old.columns()[columns.len()..];
        columns.extend(merger.combine(old, &old_groups, &local.states, &new_groups, count)?);
        let groups = batch(&merger.layout().groups, columns, count)?;
        self.store.put(groups.clone(), numbers)?;
        gone.into_iter().for_each(|number| self.store.remove(number));
        Ok((spans, groups))
    }

    /// Puts sessions (keys and states) in place of those within them.
    pub fn put(&mut self, spans: &[Span], groups: RecordBatch, merger: &Merger) -> Result<()> {
        let keys = self.intern(&groups.columns()[..merger.layout().keys.fields().len()], spans.len())?;
        let mut numbers = Vec::with_capacity(spans.len());
        for (&key, &span) in keys.iter().zip(spans) {
            self.past[key] = past(self.past[key], &self.sessions[key], self.past_of_new);
            let sessions = &mut self.sessions[key];
            sessions.retain(|session| {
                let within = session.span.overlaps(span);
                if within {
                    self.store.remove(session.number);
                }
                !within
            });
            let number = self.store.reserve();
            numbers.push(number);
            let place = sessions.partition_point(|session| session.span.start < span.start);
            sessions.insert(place, Session { span, number });
            self.schedule(key);
        }
        self.store.put(groups, numbers)
    }

    /// Notes when the sessions of a key must be looked at.
    fn schedule(&mut self, key: usize) {
        let first = self.sessions[key].first().map_or(NEVER, |session| session.span.end);
        if first < self.next[key] {
            self.next[key] = first;
            self.due.push(Reverse((first, key as u32)));
        }
    }

    /// Takes out the sessions (keys and states) that end until then.
    pub fn close(&mut self, until: i64) -> Result<(Vec<Span>, RecordBatch)> {
        let mut closed: Vec<Session> = Vec::new();
        while let Some(&Reverse((end, key))) = self.due.peek()
            && end <= until
        {
            self.due.pop();
            let key = key as usize;
            if self.next[key] != end {
                continue;
            }
            let count = self.sessions[key].partition_point(|session| session.span.end <= until);
            let last = self.sessions[key][..count].last().map(|session| session.span);
            if let Some(last) = last.filter(|last| last.end > self.past[key].end) {
                self.past[key] = last;
            }
            closed.extend(self.sessions[key].drain(..count));
            self.next[key] = NEVER;
            self.schedule(key);
        }
        closed.sort_by_key(|session| (session.span.end, session.span.start));
        let numbers: Vec<u32> = closed.iter().map(|session| session.number).collect();
        let groups = self.store.get(&numbers)?;
        numbers.into_iter().for_each(|number| self.store.remove(number));
        Ok((closed.iter().map(|session| session.span).collect(), groups))
    }

    /// All sessions (keys and states).
    pub fn all(&self) -> Result<(Vec<Span>, RecordBatch)> {
        let sessions: Vec<Session> = self.sessions.iter().flatten().copied().collect();
        let numbers: Vec<u32> = sessions.iter().map(|session| session.number).collect();
        Ok((
            sessions.iter().map(|session| session.span).collect(),
            self.store.get(&numbers)?,
        ))
    }

    /// Forgets keys for which nothing is left to know, when there are many. Windows are closed until then.
    pub fn tidy(&mut self, until: i64, merger: &Merger) -> Result<()> {
        if self.keys.len() <= self.limit {
            return Ok(());
        }
        let (spans, groups) = self.all()?;
        let (keys, pasts) = self.remembered(until)?;
        let past_of_new = self.past_of_new;
        *self = Open::new(merger, self.gap)?;
        if !spans.is_empty() {
            self.put(&spans, groups, merger)?;
        }
        self.remember(&keys, &pasts)?;
        self.past_of_new = past_of_new;
        self.limit = 2 * self.keys.len() + SLACK;
        Ok(())
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        let sessions = self.store.len() * size_of::<Session>() + self.sessions.capacity() * size_of::<Vec<Session>>();
        self.keys.size() + self.store.size() + sessions + self.due.capacity() * 16 + self.next.capacity() * 24
    }
}

/// What is past for a key with these open sessions.
fn past(past: Span, sessions: &[Session], of_new: i64) -> Span {
    match sessions.is_empty() && of_new >= past.end {
        true => Span::at(of_new),
        false => past,
    }
}
