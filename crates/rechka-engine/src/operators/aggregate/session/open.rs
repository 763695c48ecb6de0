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

/// Open sessions by key.
pub(super) struct Open {
    keys: Keys,
    /// Of each key its sessions in order; they don't overlap.
    sessions: Vec<Vec<Session>>,
    store: Store,
    /// When the sessions of a key must be looked at: at the end of the first, or before.
    due: BinaryHeap<Reverse<(i64, u32)>>,
    /// Of each key the time in `due` that counts.
    next: Vec<i64>,
}

impl Open {
    pub fn new(merger: &Merger) -> Result<Self> {
        Ok(Open {
            keys: Keys::new(&merger.layout().keys)?,
            sessions: Vec::new(),
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
        Ok(numbers)
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
            let sessions = &mut self.sessions[keys[key as usize]];
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

    /// Forgets keys without sessions, when most are.
    pub fn tidy(&mut self, merger: &Merger) -> Result<()> {
        if self.keys.len() <= 2 * self.store.len() + 1024 {
            return Ok(());
        }
        let (spans, groups) = self.all()?;
        *self = Open::new(merger)?;
        if spans.is_empty() {
            Ok(())
        } else {
            self.put(&spans, groups, merger)
        }
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        let sessions = self.store.len() * size_of::<Session>() + self.sessions.capacity() * size_of::<Vec<Session>>();
        self.keys.size() + self.store.size() + sessions + self.due.capacity() * 16 + self.next.capacity() * 8
    }
}
