//! When what was read of a partition may be shown.
//!
//! A batch of the log is an epoch as long as it is whole. Compaction drops records that were superseded later, and with them parts of
//! epochs: rows that changed together no longer lie together. It leaves the last batch of a partition alone, and it drops nothing that
//! was not superseded *before the partition's end at that time*. So:
//! - a batch that is the partition's last, or is followed by the next offset, is whole, and may be shown;
//! - when offsets are missing, nothing is shown until the position reaches the end as it was when they were found missing.
use rechka_log::{Fetched, Offset};

use super::row::Staged;

/// Where a view is in one partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The next offset to read.
    position: Offset,
    /// Everything before this offset is shown.
    shown: Offset,
    /// What is read and not shown.
    staged: Staged,
    /// Before this offset nothing is shown.
    hold: Offset,
}

impl Partition {
    /// A partition that starts at `start` and now ends at `end`.
    pub(super) fn new(start: Offset, end: Offset) -> Self {
        Self {
            position: start,
            shown: start,
            hold: end,
            staged: Staged::new(),
        }
    }

    /// Takes what was read; `end` is the partition's end asked for after it. What may be shown is given to `show`, all of a call at once.
    ///
    /// `hidden`: nobody sees the view yet, so that it need not be held back either.
    pub(super) fn take(
        &mut self,
        fetched: &Fetched,
        rows: Staged,
        end: Offset,
        hidden: bool,
        mut show: impl FnMut(Staged),
    ) {
        if fetched.base_offset != self.position {
            self.hold = end;
        }
        if hidden || self.position >= self.hold {
            self.show(&mut show);
        }
        self.staged.extend(rows);
        self.position = fetched.next_offset();
        if self.position >= end {
            self.show(&mut show);
        }
    }

    fn show(&mut self, show: &mut impl FnMut(Staged)) {
        self.shown = self.position;
        if !self.staged.is_empty() {
            show(std::mem::take(&mut self.staged));
        }
    }

    /// Whether what is shown is a state that was once.
    pub(super) fn is_settled(&self) -> bool {
        self.shown >= self.hold
    }

    /// Everything before this offset is shown.
    pub(super) fn shown(&self) -> Offset {
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rechka_log::{BatchBuilder, TopicPartition};

    use super::{super::row::Row, *};

    type State = BTreeMap<u8, String>;
    /// A record: its offset, its key, and its value, which is empty where the key is deleted.
    type Record = (Offset, u8, String);

    /// A partition of a compacted log.
    #[derive(Default)]
    struct Model {
        /// The records of each batch, and the offset after it.
        batches: Vec<(Vec<Record>, Offset)>,
        end: Offset,
        /// The state after each epoch.
        states: Vec<State>,
    }

    impl Model {
        fn epoch(&mut self, changes: &BTreeMap<u8, Option<u8>>) {
            let mut state = self.states.last().cloned().unwrap_or_default();
            let mut records = Vec::new();
            for (key, value) in changes {
                // Every epoch writes other values: half of one is never a whole one.
                let value = value.map(|value| format!("{value} of epoch {}", self.states.len()));
                match &value {
                    Some(value) => drop(state.insert(*key, value.clone())),
                    None => drop(state.remove(key)),
                }
                records.push((self.end, *key, value.unwrap_or_default()));
                self.end += 1;
            }
            self.batches.push((records, self.end));
            self.states.push(state);
        }

        /// As the log does it: superseded records go, neighbours become one batch, the last batch stays.
        fn compact(&mut self, merge: bool) {
            let Some(last) = self.batches.pop() else { return };
            let all: Vec<&Record> = self
                .batches
                .iter()
                .chain([&last])
                .flat_map(|(records, _)| records)
                .collect();
            let newest: BTreeMap<u8, Offset> = all.iter().map(|(offset, key, _)| (*key, *offset)).collect();
            for (records, _) in &mut self.batches {
                records.retain(|(offset, key, _)| newest[key] == *offset);
            }
            if merge {
                let end = self.batches.last().map(|(_, end)| *end);
                let records = self.batches.drain(..).flat_map(|(records, _)| records).collect();
                self.batches.extend(end.map(|end| (records, end)));
            }
            self.batches.retain(|(records, _)| !records.is_empty());
            self.batches.push(last);
        }

        /// What a reader at `position` gets: a run without holes of the first batch that has something.
        fn fetch(&self, position: Offset) -> Option<Vec<Record>> {
            let (records, _) = self
                .batches
                .iter()
                .find(|(records, _)| records.last().is_some_and(|(at, ..)| *at >= position))?;
            let mut run: Vec<Record> = Vec::new();
            for record in records.iter().filter(|(offset, ..)| *offset >= position) {
                if run.last().is_some_and(|(before, ..)| before + 1 != record.0) {
                    break;
                }
                run.push(record.clone());
            }
            Some(run)
        }
    }

    fn fetched(run: &[Record]) -> Fetched {
        let mut batch = BatchBuilder::new();
        for (_, key, value) in run {
            batch.push(Some(&[*key]), value.as_bytes(), 0, &[]).unwrap();
        }
        Fetched {
            from: TopicPartition::new("view", 0),
            base_offset: run[0].0,
            batch: batch.finish(),
        }
    }

    fn staged(run: &[Record]) -> Staged {
        let row = |value: &str| (!value.is_empty()).then(|| Row::new("", value));
        run.iter().map(|(_, key, value)| ([*key].into(), row(value))).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Epoch(BTreeMap<u8, Option<u8>>),
        Compact(bool),
        Fetch,
    }

    fn step() -> impl Strategy<Value = Step> {
        let changes = proptest::collection::btree_map(0..6_u8, proptest::option::weighted(0.8, 0..9_u8), 1..5);
        prop_oneof![
            3 => changes.prop_map(Step::Epoch),
            1 => any::<bool>().prop_map(Step::Compact),
            3 => Just(Step::Fetch),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_shown_is_always_the_state_after_an_epoch(steps in proptest::collection::vec(step(), 0..60), begin in 0..30_usize) {
            let mut model = Model::default();
            model.states.push(State::new());
            let mut reading: Option<Partition> = None;
            let (mut shown, mut epoch, mut ready) = (State::new(), 0, false);
            // In the end everything is read.
            let rest = std::iter::repeat_n(Step::Fetch, 400);
            for (number, step) in steps.iter().cloned().chain(rest).enumerate() {
                if number == begin {
                    let start = model.batches.first().and_then(|(records, _)| records.first()).map_or(0, |(offset, ..)| *offset);
                    let partition = Partition::new(start, model.end);
                    ready = partition.is_settled();
                    reading = Some(partition);
                }
                match step {
                    Step::Epoch(changes) => model.epoch(&changes),
                    Step::Compact(merge) => model.compact(merge),
                    Step::Fetch => {
                        let Some(partition) = &mut reading else { continue };
                        let Some(run) = model.fetch(partition.position) else { continue };
                        let fetched = fetched(&run);
                        let mut shows = Vec::new();
                        partition.take(&fetched, staged(&run), model.end, !ready, |rows| shows.push(rows));
                        let was_ready = ready;
                        ready = ready || partition.is_settled();
                        let count = shows.len();
                        for (index, rows) in shows.into_iter().enumerate() {
                            for (key, row) in rows {
                                match row {
                                    Some(row) => drop(shown.insert(key[0], row.value().to_owned())),
                                    None => drop(shown.remove(&key[0])),
                                }
                            }
                            // Before it is ready, nobody looks, and becoming so it shows the last.
                            if was_ready || (ready && index + 1 == count) {
                                let found = model.states.iter().enumerate().skip(epoch).find(|(_, state)| **state == shown);
                                prop_assert!(found.is_some(), "{shown:?} never was, or was before epoch {epoch}: {:?}", model.states);
                                epoch = found.map_or(0, |(number, _)| number);
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(Some(&shown), model.states.last());
            prop_assert!(reading.is_none_or(|partition| partition.is_settled() && partition.shown() == model.end));
        }
    }
}
