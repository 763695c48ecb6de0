//! Groups whose states change again and again: written anew behind the others, like in a log.
use arrow::{array::RecordBatch, compute::interleave_record_batch, datatypes::SchemaRef};

use super::groups::batch;
use crate::Result;

/// So many batches of like size become one.
const FAN_IN: usize = 8;

/// The place of what is not stored.
const NOWHERE: (u32, u32) = (u32::MAX, u32::MAX);

/// Groups (keys and states) by number. What replaces a group is appended; when there is more dead than living, the
/// living are copied.
pub(super) struct Store {
    schema: SchemaRef,
    /// Rows, and whose they are.
    batches: Vec<(RecordBatch, Vec<u32>)>,
    /// Of each group: batch and row.
    places: Vec<(u32, u32)>,
    /// Numbers that were of groups.
    free: Vec<u32>,
    living: usize,
    /// Dead ones too.
    rows: usize,
}

impl Store {
    pub fn new(schema: &SchemaRef) -> Self {
        Store {
            schema: schema.clone(),
            batches: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            living: 0,
            rows: 0,
        }
    }

    /// A number that no group has.
    pub fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(NOWHERE);
            self.places.len() as u32 - 1
        })
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.living
    }

    fn holds(&self, group: u32) -> bool {
        self.places.get(group as usize).is_some_and(|place| *place != NOWHERE)
    }

    /// Puts groups in place of those of the same numbers, if there are some. No number stands twice.
    pub fn put(&mut self, rows: RecordBatch, groups: Vec<u32>) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        self.rows += groups.len();
        self.living += groups.iter().filter(|group| !self.holds(**group)).count();
        self.append(rows, groups);
        let mut like_rows = 0;
        let like = self.batches.iter().rev().take_while(|(rows, _)| {
            let is_like = like_rows == 0 || rows.num_rows() <= 2 * like_rows;
            like_rows += rows.num_rows();
            is_like
        });
        let like = like.count();
        if self.rows > 2 * self.living + 1024 {
            self.compact(0)
        } else if like >= FAN_IN {
            self.compact(self.batches.len() - like)
        } else {
            Ok(())
        }
    }

    fn append(&mut self, rows: RecordBatch, groups: Vec<u32>) {
        let batch = self.batches.len() as u32;
        for (&group, row) in groups.iter().zip(0..) {
            if self.places.len() <= group as usize {
                self.places.resize(group as usize + 1, NOWHERE);
            }
            self.places[group as usize] = (batch, row);
        }
        self.batches.push((rows, groups));
    }

    /// Takes a group out, whose number is free then.
    pub fn remove(&mut self, group: u32) {
        if self.holds(group) {
            self.places[group as usize] = NOWHERE;
            self.free.push(group);
            self.living -= 1;
        }
    }

    /// The numbers of all groups, in order.
    pub fn all(&self) -> Vec<u32> {
        (0..self.places.len() as u32)
            .filter(|group| self.holds(*group))
            .collect()
    }

    /// The rows of groups that are there.
    pub fn get(&self, groups: &[u32]) -> Result<RecordBatch> {
        if groups.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        if self.schema.fields().is_empty() {
            return batch(&self.schema, Vec::new(), groups.len());
        }
        let batches: Vec<_> = self.batches.iter().map(|(rows, _)| rows).collect();
        let places = groups.iter().map(|group| self.places[*group as usize]);
        let places: Vec<_> = places.map(|(batch, row)| (batch as usize, row as usize)).collect();
        Ok(interleave_record_batch(&batches, &places)?)
    }

    /// Makes one batch of the living of the batches from this one on.
    fn compact(&mut self, first: usize) -> Result<()> {
        let mut groups = Vec::new();
        for (batch, (_, owners)) in self.batches.iter().enumerate().skip(first) {
            let living = owners
                .iter()
                .zip(0..)
                .filter(|(group, row)| self.places[**group as usize] == (batch as u32, *row));
            groups.extend(living.map(|(group, _)| *group));
        }
        let rows = self.get(&groups)?;
        let old: usize = self.batches[first..].iter().map(|(_, owners)| owners.len()).sum();
        self.rows = self.rows - old + groups.len();
        self.batches.truncate(first);
        if !groups.is_empty() {
            self.append(rows, groups);
        }
        Ok(())
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        let batches = self
            .batches
            .iter()
            .map(|(rows, owners)| rows.get_array_memory_size() + owners.capacity() * 4);
        batches.sum::<usize>() + self.places.capacity() * 8 + self.free.capacity() * 4
    }
}
