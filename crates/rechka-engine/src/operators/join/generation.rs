//! The rows of one stretch of time, with an index: what expires together.
use hashbrown::{HashTable, hash_table::Entry};

use super::{
    super::{kept::Kept, open::Open},
    keyed::Keyed,
    pairs::Pair,
};
use crate::Result;

/// No row.
const NONE: u32 = u32::MAX;

/// Kept rows, numbered in the order in which they came, with chains of those whose keys have the same hash.
#[derive(Debug)]
pub(super) struct Generation {
    pub rows: Kept,
    /// Hash, and the last row that has it.
    chains: HashTable<(u64, u32)>,
    /// For each row the one before it in its chain.
    before: Vec<u32>,
    pub times: Vec<i64>,
    pub earliest: i64,
    pub latest: i64,
    /// Which rows still wait for a partner, if that matters.
    pub open: Option<Open>,
}

impl Generation {
    pub fn new(tracked: bool) -> Self {
        Self {
            rows: Kept::default(),
            chains: HashTable::new(),
            before: Vec::new(),
            times: Vec::new(),
            earliest: i64::MAX,
            latest: i64::MIN,
            open: tracked.then(Open::default),
        }
    }

    /// Keeps rows, all of which can match.
    pub fn push(&mut self, rows: Keyed) -> Result<()> {
        let first = self.times.len() as u32;
        let keys = rows.hashes.iter().zip(rows.times.values()).zip(&rows.matched);
        for (row, ((hash, time), matched)) in (first..).zip(keys) {
            let chain = self.chains.entry(*hash, |(other, _)| other == hash, |(hash, _)| *hash);
            let before = match chain {
                Entry::Occupied(mut chain) => std::mem::replace(&mut chain.get_mut().1, row),
                Entry::Vacant(chain) => {
                    chain.insert((*hash, row));
                    NONE
                }
            };
            self.before.push(before);
            self.earliest = self.earliest.min(*time);
            self.latest = self.latest.max(*time);
            if let Some(open) = &mut self.open {
                open.push(*time, !matched);
            }
        }
        self.times.extend_from_slice(rows.times.values());
        self.rows.push(rows.rows)
    }

    /// The kept rows with the hash of a coming row, and a time between its time `+ from` and `+ to`; or only those still open.
    pub fn candidates(
        &self,
        source: u32,
        coming: &Keyed,
        (from, to): (i64, i64),
        only_open: bool,
        mut found: impl FnMut(Pair) -> Result<()>,
    ) -> Result<()> {
        let open = self.open.as_ref().filter(|_| only_open);
        for (index, (hash, time)) in coming.hashes.iter().zip(coming.times.values()).enumerate() {
            let (from, to) = (time.saturating_add(from), time.saturating_add(to));
            if from > self.latest || to < self.earliest || !coming.is_matchable(index) {
                continue;
            }
            let mut row = self
                .chains
                .find(*hash, |(other, _)| other == hash)
                .map_or(NONE, |(_, last)| *last);
            while row != NONE {
                let kept = self.times[row as usize];
                if from <= kept && kept <= to && open.is_none_or(|open| open.is_open(row as usize)) {
                    found(Pair {
                        coming: index as u32,
                        source,
                        row,
                    })?;
                }
                row = self.before[row as usize];
            }
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        let index = self.chains.capacity() * (size_of::<(u64, u32)>() + 1);
        let rows = self.before.capacity() * size_of::<u32>() + self.times.capacity() * size_of::<i64>();
        self.rows.bytes() + index + rows + self.open.as_ref().map_or(0, Open::bytes)
    }
}
