//! The groups of one epoch: rows (or partial aggregates) by pane and key.
//!
//! Keys are numbered once for all panes; a group is a pair of pane and key. While there is one pane, which is most of
//! the time, the number of the key is the number of the group.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::take_arrays,
    datatypes::SchemaRef,
};
use datafusion::common::HashMap;

use super::{
    functions::{Accumulators, Functions},
    keys::Keys,
    panes::{FOREVER, Pane},
};
use crate::Result;

/// Number of a pane among those of an epoch.
pub(super) type Slot = u32;

/// The groups of an epoch, so far.
pub(super) struct Groups {
    keys: Keys,
    accumulators: Accumulators,
    panes: Vec<Pane>,
    slots: HashMap<Pane, Slot>,
    /// From pane and key to group; empty while there is one pane.
    numbers: HashMap<(Slot, u32), u32>,
    /// Pane and key of each group; empty while there is one pane.
    places: Vec<(Slot, u32)>,
    /// Of the rows at hand.
    groups: Vec<usize>,
}

/// The groups of an epoch with their states.
pub(super) struct Sealed {
    panes: Vec<Pane>,
    /// Pane and key of each group; empty: all in the first pane, and the keys in order.
    places: Vec<(Slot, u32)>,
    keys: Vec<ArrayRef>,
    states: Vec<ArrayRef>,
    groups: usize,
}

impl Groups {
    pub fn new(keys: &SchemaRef, functions: &Arc<Functions>) -> Result<Self> {
        Ok(Groups {
            keys: Keys::new(keys)?,
            accumulators: Accumulators::new(Arc::clone(functions))?,
            panes: Vec::new(),
            slots: HashMap::new(),
            numbers: HashMap::new(),
            places: Vec::new(),
            groups: Vec::new(),
        })
    }

    /// The number of a pane.
    pub fn slot(&mut self, pane: Pane) -> Slot {
        let panes = &mut self.panes;
        *self.slots.entry(pane).or_insert_with(|| {
            panes.push(pane);
            panes.len() as Slot - 1
        })
    }

    /// Takes rows, each with its keys and its pane.
    pub fn update(&mut self, rows: &RecordBatch, keys: &[ArrayRef], slots: &[Slot]) -> Result<()> {
        let arguments = self.accumulators.functions().arguments(rows)?;
        let count = self.locate(keys, slots)?;
        self.accumulators.update(&arguments, &self.groups, count)
    }

    /// Takes partial aggregates, each with its keys and its pane.
    pub fn merge(&mut self, keys: &[ArrayRef], states: &[ArrayRef], slots: &[Slot]) -> Result<()> {
        let count = self.locate(keys, slots)?;
        self.accumulators.merge(states, &self.groups, count)
    }

    /// Makes the only group known, when there are no key columns, though no row may have come.
    pub fn touch(&mut self) -> Result<()> {
        let slot = self.slot(FOREVER);
        let nothing = self.accumulators.functions().nothing()?;
        self.merge(&[], &nothing, &[slot])
    }

    /// Finds the groups of rows, and how many there are now.
    fn locate(&mut self, keys: &[ArrayRef], slots: &[Slot]) -> Result<usize> {
        let known = self.keys.len();
        self.keys.intern(keys, slots.len(), &mut self.groups)?;
        if self.panes.len() <= 1 {
            return Ok(self.keys.len());
        }
        if self.places.is_empty() {
            self.places.extend((0..known as u32).map(|key| (0, key)));
            self.numbers
                .extend(self.places.iter().zip(0..).map(|(&place, group)| (place, group)));
        }
        for (group, &slot) in self.groups.iter_mut().zip(slots) {
            let place = (slot, *group as u32);
            *group = *self.numbers.entry(place).or_insert_with(|| {
                self.places.push(place);
                self.places.len() as u32 - 1
            }) as usize;
        }
        Ok(self.places.len())
    }

    /// The groups with their states; none is left.
    pub fn seal(&mut self) -> Result<Sealed> {
        self.slots.clear();
        self.numbers.clear();
        let groups = match self.places.len() {
            0 => self.keys.len(),
            groups => groups,
        };
        let states = match groups {
            0 => Vec::new(),
            _ => self.accumulators.states()?,
        };
        Ok(Sealed {
            panes: std::mem::take(&mut self.panes),
            places: std::mem::take(&mut self.places),
            keys: self.keys.take()?,
            states,
            groups,
        })
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.keys.size() + self.accumulators.size() + self.places.capacity() * 8 + self.numbers.capacity() * 16
    }
}

impl Sealed {
    /// For each pane its groups: keys and states.
    pub fn by_pane(self, schema: &SchemaRef) -> Result<Vec<(Pane, RecordBatch)>> {
        if self.groups == 0 {
            return Ok(Vec::new());
        }
        if self.places.is_empty() {
            let columns = self.keys.into_iter().chain(self.states).collect();
            return Ok(vec![(self.panes[0], batch(schema, columns, self.groups)?)]);
        }
        let mut groups = vec![Vec::new(); self.panes.len()];
        for (&(slot, _), group) in self.places.iter().zip(0_u32..) {
            groups[slot as usize].push(group);
        }
        let mut batches = Vec::new();
        for (pane, groups) in self
            .panes
            .into_iter()
            .zip(groups)
            .filter(|(_, groups)| !groups.is_empty())
        {
            let keys = groups.iter().map(|&group| self.places[group as usize].1).collect();
            let mut columns = take_arrays(&self.keys, &UInt32Array::new(keys, None), None)?;
            let count = groups.len();
            columns.extend(take_arrays(&self.states, &UInt32Array::new(groups.into(), None), None)?);
            batches.push((pane, batch(schema, columns, count)?));
        }
        Ok(batches)
    }

    /// All groups: keys and states, before them the start and the end of the pane if `with_panes`.
    pub fn whole(self, schema: &SchemaRef, with_panes: bool) -> Result<Option<RecordBatch>> {
        if self.groups == 0 {
            return Ok(None);
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        if with_panes {
            let panes = |of: fn(&Pane) -> i64| -> ArrayRef {
                match self.places.is_empty() {
                    true => Arc::new(Int64Array::from_value(of(&self.panes[0]), self.groups)),
                    false => {
                        let places = self.places.iter();
                        Arc::new(
                            places
                                .map(|&(slot, _)| of(&self.panes[slot as usize]))
                                .collect::<Int64Array>(),
                        )
                    }
                }
            };
            columns.push(panes(|pane| pane.start));
            columns.push(panes(|pane| pane.end));
        }
        match self.places.is_empty() {
            true => columns.extend(self.keys),
            false => {
                let keys = self.places.iter().map(|&(_, key)| key).collect();
                columns.extend(take_arrays(&self.keys, &UInt32Array::new(keys, None), None)?);
            }
        }
        columns.extend(self.states);
        Ok(Some(batch(schema, columns, self.groups)?))
    }
}

/// A batch that may have no columns.
pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
