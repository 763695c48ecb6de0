//! Groups that are written whenever they change.
use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::TimeUnit;
use proptest::prelude::*;
use rechka_sql::plan::{Emit, Groups, Window};

use super::{
    windows::{Epoch, Group, any_epochs, any_window, batches, query, sorted, stamp, windows_of},
    *,
};

fn changing(window: Option<Window>, emit: Emit) -> Query {
    match window {
        Some(window) => Query { emit, ..query(window) },
        None => Query {
            emit,
            groups: Groups::Keys,
            ..query(windows::hop(1, 1))
        },
    }
}

/// The rows of each epoch, by the model.
fn model(window: Option<Window>, emit: Emit, epochs: &[Epoch]) -> Vec<Text> {
    let mut groups: BTreeMap<Group, Vec<Option<i64>>> = BTreeMap::new();
    let mut watermark = i64::MIN;
    let mut all = Vec::new();
    for epoch in epochs {
        let mut changed = BTreeSet::new();
        for row in epoch.batches.iter().flatten() {
            let windows = match (window, row.time) {
                (None, _) => vec![(i64::MIN, i64::MAX)],
                (Some(_), None) => Vec::new(),
                (Some(window), Some(time)) => windows_of(window, time),
            };
            for (start, end) in windows.into_iter().filter(|(_, end)| *end > watermark) {
                groups.entry((end, start, row.key)).or_default().push(row.number);
                changed.insert((end, start, row.key));
            }
        }
        if emit == Emit::Complete && !changed.is_empty() {
            changed = groups.keys().copied().collect();
        }
        let rows = changed.into_iter().map(|group| {
            let (end, start, key) = group;
            let mut row = vec![key.unwrap_or_default().to_owned()];
            if window.is_some() {
                row.extend([stamp(start), stamp(end)]);
            }
            row.extend(results(&groups[&group]));
            row
        });
        all.push(sorted(rows.collect()));
        watermark = epoch.watermark;
        if window.is_some() {
            groups.retain(|(end, _, _), _| *end > watermark);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_changed_is_written_as_the_model_says(
        window in proptest::option::of(any_window()),
        emit in proptest::sample::select(vec![Emit::Update, Emit::Complete]),
        epochs in any_epochs(),
    ) {
        let query = changing(window, emit);
        let mut running = Running::new(query.single());
        for (epoch, rows) in epochs.iter().zip(model(window, emit, &epochs)) {
            let out = running.epoch(&batches(epoch), epoch.time());
            prop_assert_eq!(sorted(text(&out.rows)), rows);
            running.between(epoch.between, query.single());
        }
    }

    #[test]
    fn partial_then_final_writes_what_single_writes(
        window in proptest::option::of(any_window()),
        epochs in any_epochs(),
    ) {
        let query = changing(window, Emit::Update);
        let mut partials = [Running::new(query.partial()), Running::new(query.partial())];
        let mut last = Running::new(query.last());
        for (epoch, rows) in epochs.iter().zip(model(window, Emit::Update, &epochs)) {
            let mut exchanged = Vec::new();
            for (index, partial) in partials.iter_mut().enumerate() {
                let own: Vec<_> = batches(epoch).into_iter().skip(index).step_by(2).collect();
                exchanged.extend(partial.epoch(&own, epoch.time()).rows);
            }
            let out = last.epoch(&exchanged, epoch.time());
            prop_assert_eq!(sorted(text(&out.rows)), rows);
            last.between(epoch.between, query.last());
        }
    }
}

fn global(window: Option<Window>) -> Query {
    Query {
        keys: Vec::new(),
        columns: vec![count(), sum()],
        ..changing(window, Emit::Update)
    }
}

#[test]
fn a_group_without_keys_exists_before_the_first_row() {
    let time = Time {
        watermark: i64::MIN,
        now: 0,
    };
    let rows = |rows| super::rows(TimeUnit::Microsecond, rows);
    let query = global(None);
    let mut single = Running::new(query.single());
    assert_eq!(text(&single.epoch(&[], time).rows), [["0", ""]]);
    single.between(Between::Restart, query.single());
    assert!(
        single.epoch(&[], time).rows.is_empty(),
        "it is not written again after a restart"
    );
    assert_eq!(text(&single.epoch(&[rows(&[row(1, "a", 5)])], time).rows), [["1", "5"]]);
    let mut partial = Running::new(query.partial());
    let mut last = Running::new(query.last());
    let exchanged = partial.epoch(&[], time).rows;
    // Of the tasks behind an exchange one has the group, and the others have no rows at all.
    assert_eq!(text(&last.epoch(&exchanged, time).rows), [["0", ""]]);
    let mut other = Running::new(query.last());
    assert!(other.epoch(&[], time).rows.is_empty());
}

#[test]
fn a_window_without_keys_needs_a_row() {
    let query = Query {
        emit: Emit::Append,
        ..global(Some(windows::hop(10, 5)))
    };
    let mut single = Running::new(query.single());
    let batch = rows(TimeUnit::Microsecond, &[row(1, "a", 5), row(7, "b", 6)]);
    assert!(
        single
            .epoch(
                &[],
                Time {
                    watermark: -100,
                    now: 0
                }
            )
            .rows
            .is_empty()
    );
    let out = single.epoch(
        &[batch],
        Time {
            watermark: i64::MAX,
            now: 0,
        },
    );
    let expected = [(-5, "1", "5"), (0, "2", "11"), (5, "1", "6")];
    let expected = expected.map(|(start, count, sum)| vec![stamp(start), stamp(start + 10), count.into(), sum.into()]);
    assert_eq!(text(&out.rows), expected);
}

#[test]
fn totals_that_change_often_take_no_more_and_more_room() {
    let query = Query {
        columns: vec![count(), sum()],
        ..changing(None, Emit::Update)
    };
    let mut running = Running::new(query.single());
    let mut sizes = Vec::new();
    for epoch in 0..600_i64 {
        let batch = rows(
            TimeUnit::Microsecond,
            &[row(0, "a", 1), row(0, ["b", "c", "d"][epoch as usize % 3], 2)],
        );
        running.epoch(&[batch], Time { watermark: 0, now: 0 });
        sizes.push(running.state_bytes());
    }
    let (first, last) = (sizes[..300].iter().max(), sizes[300..].iter().max());
    assert!(last <= first, "{first:?} {last:?}");
}
