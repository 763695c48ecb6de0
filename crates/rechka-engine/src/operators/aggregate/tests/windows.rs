//! Windows that are written once.
use std::collections::BTreeMap;

use arrow::datatypes::TimeUnit;
use proptest::prelude::*;
use rechka_sql::plan::{Emit, Groups, Window};

use super::*;

pub(super) fn query(window: Window) -> Query {
    Query {
        groups: Groups::Windows { time: Some(0), window },
        keys: vec!["key"],
        columns: functions(),
        emit: Emit::Append,
        unit: TimeUnit::Microsecond,
    }
}

pub(super) fn hop(size: i64, slide: i64) -> Window {
    Window::Hop {
        size: size * SECOND,
        slide: slide * SECOND,
        offset: 0,
    }
}

/// All windows in seconds of a time in seconds.
pub(super) fn windows_of(window: Window, time: i64) -> Vec<(i64, i64)> {
    let windows = match window {
        Window::Hop { size, slide, offset } => {
            let (size, slide, offset) = (size / SECOND, slide / SECOND, offset / SECOND);
            let starts = (-1000..1000).map(|n| n * slide + offset);
            starts.map(|start| (start, start + size)).collect::<Vec<_>>()
        }
        Window::Cumulate { size, step, offset } => {
            let (size, step, offset) = (size / SECOND, step / SECOND, offset / SECOND);
            let starts = (-1000..1000).map(|n| n * size + offset);
            starts
                .flat_map(|start| (1..=size / step).map(move |n| (start, start + n * step)))
                .collect()
        }
        Window::Session { .. } => unreachable!(),
    };
    windows
        .into_iter()
        .filter(|(start, end)| (*start..*end).contains(&time))
        .collect()
}

/// Seconds as a timestamp's text.
pub(super) fn stamp(seconds: i64) -> String {
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![seconds * SECOND]));
    array_value_to_string(&array, 0).unwrap()
}

/// An epoch of the tests: batches, and the watermark at its end in seconds.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub batches: Vec<Vec<Row>>,
    pub watermark: i64,
    pub between: Between,
}

impl Epoch {
    pub fn time(&self) -> Time {
        Time {
            watermark: micros(self.watermark),
            now: 0,
        }
    }
}

pub(super) fn micros(seconds: i64) -> i64 {
    seconds.saturating_mul(SECOND)
}

/// End and start of a window, and a key.
pub(super) type Group = (i64, i64, Option<&'static str>);

/// A group by key and number, or by key alone.
type WideGroup = (Group, Option<Option<i64>>);

/// The rows and the late rows of each epoch, by the model.
fn model(window: Window, wide: bool, epochs: &[Epoch]) -> Vec<(Text, Text)> {
    let mut open: BTreeMap<WideGroup, Vec<Option<i64>>> = BTreeMap::new();
    let mut watermark = i64::MIN;
    let mut all = Vec::new();
    for epoch in epochs {
        let mut late = Vec::new();
        for row in epoch.batches.iter().flatten() {
            let mut out = text(&[rows(TimeUnit::Microsecond, std::slice::from_ref(row))]).remove(0);
            let Some(time) = row.time else {
                out.extend(["".into(), "".into()]);
                late.push(out);
                continue;
            };
            for (start, end) in windows_of(window, time) {
                if end <= watermark {
                    let mut out = out.clone();
                    out.extend([stamp(start), stamp(end)]);
                    late.push(out);
                } else {
                    open.entry(((end, start, row.key), wide.then_some(row.number)))
                        .or_default()
                        .push(row.number);
                }
            }
        }
        watermark = epoch.watermark;
        let still_open = open.split_off(&((watermark.saturating_add(1), i64::MIN, None), None));
        let closed = std::mem::replace(&mut open, still_open);
        let rows = closed.into_iter().map(|(((end, start, key), number), numbers)| {
            let mut row = vec![key.unwrap_or_default().to_owned()];
            row.extend(number.map(|number| number.map(|number| number.to_string()).unwrap_or_default()));
            row.extend([stamp(start), stamp(end)]);
            row.extend(results(&numbers));
            row
        });
        all.push((sorted(rows.collect()), sorted(late)));
    }
    all
}

pub(super) fn sorted(mut rows: Text) -> Text {
    rows.sort();
    rows
}

pub(super) fn batches(epoch: &Epoch) -> Vec<RecordBatch> {
    epoch
        .batches
        .iter()
        .map(|batch| rows(TimeUnit::Microsecond, batch))
        .collect()
}

/// Any window.
pub(super) fn any_window() -> impl Strategy<Value = Window> {
    let lengths = (1..5_i64, 1..5_i64, -7..7_i64).prop_map(|(step, n, offset)| (step * SECOND, n, offset * SECOND));
    (lengths, any::<bool>()).prop_map(|((step, n, offset), cumulate)| match cumulate {
        false => Window::Hop {
            size: step * n,
            slide: step,
            offset,
        },
        true => Window::Cumulate {
            size: step * n,
            step,
            offset,
        },
    })
}

pub(super) fn any_row() -> impl Strategy<Value = Row> {
    let key = proptest::option::weighted(
        0.9,
        proptest::sample::select(vec!["a", "b", "c", "a long key of a group"]),
    );
    (
        proptest::option::weighted(0.97, -9..30_i64),
        key,
        proptest::option::weighted(0.9, -3..9_i64),
    )
        .prop_map(|(time, key, number)| Row { time, key, number })
}

/// Epochs whose watermarks rise; the last one ends the input.
pub(super) fn any_epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let batches = proptest::collection::vec(proptest::collection::vec(any_row(), 0..7), 0..4);
    let between = prop_oneof![
        3 => Just(Between::Nothing),
        1 => Just(Between::Restart),
        1 => Just(Between::Snapshot)
    ];
    proptest::collection::vec((batches, 0..9_i64, between), 1..25).prop_map(|epochs| {
        let last = epochs.len() - 1;
        let mut watermark = -20;
        let epochs = epochs.into_iter().enumerate().map(|(index, (batches, step, between))| {
            watermark += step;
            let watermark = if index == last { i64::MAX } else { watermark };
            Epoch {
                batches,
                watermark,
                between,
            }
        });
        epochs.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn windows_and_late_rows_are_those_of_the_model(window in any_window(), wide: bool, epochs in any_epochs()) {
        let mut query = query(window);
        if wide {
            query.keys.push("number");
        }
        let mut running = Running::new(query.single());
        for (epoch, (rows, late)) in epochs.iter().zip(model(window, wide, &epochs)) {
            let out = running.epoch(&batches(epoch), epoch.time());
            prop_assert_eq!(sorted(text(&out.rows)), rows);
            prop_assert_eq!(sorted(text(&out.late)), late);
            running.between(epoch.between, query.single());
        }
    }

    #[test]
    fn partial_then_final_on_several_tasks_is_single(window in any_window(), wide: bool, epochs in any_epochs()) {
        let mut query = query(window);
        if wide {
            query.keys.push("number");
        }
        let mut partials = [Running::new(query.partial()), Running::new(query.partial())];
        let mut finals = [Running::new(query.last()), Running::new(query.last())];
        for (epoch, (rows, late)) in epochs.iter().zip(model(window, wide, &epochs)) {
            let batches = batches(epoch);
            let mut found_late = Vec::new();
            let mut exchanged = [Vec::new(), Vec::new()];
            // The rows of an epoch are split between the first tasks, and their groups by key between the last.
            for (index, partial) in partials.iter_mut().enumerate() {
                let own: Vec<_> = batches.iter().skip(index).step_by(2).cloned().collect();
                let out = partial.epoch(&own, epoch.time());
                found_late.extend(text(&out.late));
                for batch in out.rows {
                    for row in 0..batch.num_rows() {
                        let key = array_value_to_string(batch.column(2), row).unwrap();
                        exchanged[key.len() % 2].push(batch.slice(row, 1));
                    }
                }
                partial.between(epoch.between, query.partial());
            }
            let mut found = Vec::new();
            for (last, groups) in finals.iter_mut().zip(exchanged) {
                let out = last.epoch(&groups, epoch.time());
                prop_assert!(out.late.is_empty());
                found.extend(text(&out.rows));
                last.between(epoch.between, query.last());
            }
            prop_assert_eq!(sorted(found), rows);
            prop_assert_eq!(sorted(found_late), late);
        }
    }
}
