//! Sessions.
use std::collections::BTreeMap;

use arrow::datatypes::TimeUnit;
use proptest::prelude::*;
use rechka_sql::plan::Window;

use super::{
    windows::{Epoch, any_epochs, batches, query, sorted, stamp},
    *,
};

struct Session {
    start: i64,
    end: i64,
    rows: Vec<Row>,
}

/// The rows and the late rows of each epoch, by the model.
fn model(gap: i64, epochs: &[Epoch]) -> Vec<(Text, Text)> {
    let mut open: BTreeMap<Option<&str>, Vec<Session>> = BTreeMap::new();
    let mut watermark = i64::MIN;
    let mut all = Vec::new();
    for epoch in epochs {
        let (mut rows, mut late) = (Vec::new(), Vec::new());
        let mut write_late = |row: Row, window: [String; 2]| {
            let mut out = text(&[super::rows(TimeUnit::Microsecond, &[row])]).remove(0);
            out.extend(window);
            late.push(out);
        };
        for row in epoch.batches.iter().flatten().cloned() {
            match row.time {
                Some(time) => {
                    let session = Session {
                        start: time,
                        end: time + gap,
                        rows: vec![row.clone()],
                    };
                    open.entry(row.key).or_default().push(session);
                }
                None => write_late(row, ["".into(), "".into()]),
            }
        }
        for (key, sessions) in &mut open {
            sessions.sort_by_key(|session| session.start);
            sessions.dedup_by(|next, session| {
                let is_one = next.start < session.end;
                if is_one {
                    session.end = session.end.max(next.end);
                    session.rows.append(&mut next.rows);
                }
                is_one
            });
            for session in std::mem::take(sessions) {
                let window = [stamp(session.start), stamp(session.end)];
                if session.end <= watermark {
                    session.rows.into_iter().for_each(|row| write_late(row, window.clone()));
                } else if session.end <= epoch.watermark {
                    let numbers: Vec<_> = session.rows.iter().map(|row| row.number).collect();
                    let mut row = vec![key.unwrap_or_default().to_owned()];
                    row.extend(window);
                    row.extend(results(&numbers));
                    rows.push(row);
                } else {
                    sessions.push(session);
                }
            }
        }
        watermark = epoch.watermark;
        all.push((sorted(rows), sorted(late)));
    }
    all
}

fn sessions(gap: i64) -> Query {
    query(Window::Session { gap: gap * SECOND })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn sessions_and_late_rows_are_those_of_the_model(gap in 1..9_i64, epochs in any_epochs()) {
        let query = sessions(gap);
        let mut running = Running::new(query.single());
        for (epoch, (rows, late)) in epochs.iter().zip(model(gap, &epochs)) {
            let out = running.epoch(&batches(epoch), epoch.time());
            prop_assert_eq!(sorted(text(&out.rows)), rows);
            prop_assert_eq!(sorted(text(&out.late)), late);
            running.between(epoch.between, query.single());
        }
    }

    #[test]
    fn partial_then_final_makes_the_same_sessions(gap in 1..9_i64, epochs in any_epochs()) {
        let query = sessions(gap);
        let mut partials = [Running::new(query.partial()), Running::new(query.partial())];
        let mut last = Running::new(query.last());
        for (epoch, (rows, late)) in epochs.iter().zip(model(gap, &epochs)) {
            let mut exchanged = Vec::new();
            for (index, partial) in partials.iter_mut().enumerate() {
                let own: Vec<_> = batches(epoch).into_iter().skip(index).step_by(2).collect();
                exchanged.extend(partial.epoch(&own, epoch.time()).rows);
            }
            let out = last.epoch(&exchanged, epoch.time());
            prop_assert_eq!(sorted(text(&out.rows)), rows);
            // What is late can't be told as rows any more.
            let timed = late.iter().filter(|row| !row[0].is_empty()).count() as u64;
            prop_assert!(out.late_partials <= timed && (out.late_partials > 0) == (timed > 0));
            last.between(epoch.between, query.last());
        }
    }
}

#[test]
fn two_rows_exactly_the_gap_apart_are_two_sessions() {
    let query = Query {
        columns: vec![count()],
        ..sessions(5)
    };
    let mut running = Running::new(query.single());
    let batch = rows(
        TimeUnit::Microsecond,
        &[row(10, "a", 1), row(15, "a", 1), row(19, "a", 1)],
    );
    let out = running.epoch(
        &[batch],
        Time {
            watermark: i64::MAX,
            now: 0,
        },
    );
    let expected = [(10, 15, "1"), (15, 24, "2")];
    let expected = expected.map(|(start, end, count)| vec!["a".into(), stamp(start), stamp(end), count.to_owned()]);
    assert_eq!(text(&out.rows), expected);
}

#[test]
fn a_session_closes_when_the_watermark_reaches_its_end() {
    let query = Query {
        columns: vec![count()],
        ..sessions(5)
    };
    let mut running = Running::new(query.single());
    let batch = rows(TimeUnit::Microsecond, &[row(10, "a", 1)]);
    assert!(
        running
            .epoch(
                &[batch],
                Time {
                    watermark: 15 * SECOND - 1,
                    now: 0
                }
            )
            .rows
            .is_empty()
    );
    assert_eq!(
        running
            .epoch(
                &[],
                Time {
                    watermark: 15 * SECOND,
                    now: 0
                }
            )
            .rows
            .len(),
        1
    );
}

#[test]
fn keys_whose_sessions_are_closed_are_forgotten() {
    let query = Query {
        columns: vec![count()],
        keys: vec!["number"],
        ..sessions(5)
    };
    let mut running = Running::new(query.single());
    let mut sizes = Vec::new();
    for epoch in 0..400 {
        let batch: Vec<Row> = (0..100).map(|key| row(epoch * 10, "a", epoch * 100 + key)).collect();
        let batch = rows(TimeUnit::Microsecond, &batch);
        let out = running.epoch(
            &[batch],
            Time {
                watermark: epoch * 10 * SECOND,
                now: 0,
            },
        );
        assert_eq!(
            out.rows.iter().map(RecordBatch::num_rows).sum::<usize>(),
            if epoch == 0 { 0 } else { 100 }
        );
        sizes.push(running.state_bytes());
    }
    let (first, last) = (sizes[..200].iter().max(), sizes[200..].iter().max());
    assert!(last <= first, "{first:?} {last:?}");
}

#[test]
fn sessions_by_the_clock_end_when_nothing_comes() {
    let groups = Groups::Windows {
        time: None,
        window: Window::Session { gap: 5 * SECOND },
    };
    let query = Query {
        columns: vec![count()],
        groups,
        ..sessions(5)
    };
    let mut running = Running::new(query.single());
    let batch = rows(TimeUnit::Microsecond, &[row(0, "a", 1)]);
    let at = |now: i64| Time {
        watermark: i64::MIN,
        now: now * SECOND,
    };
    assert!(running.epoch(std::slice::from_ref(&batch), at(100)).rows.is_empty());
    assert!(running.epoch(&[batch], at(104)).rows.is_empty());
    let rows = text(&running.epoch(&[], at(109)).rows);
    assert_eq!(rows, [vec!["a".into(), stamp(100), stamp(109), "2".to_owned()]]);
}
