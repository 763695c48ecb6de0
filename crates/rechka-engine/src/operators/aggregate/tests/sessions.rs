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

/// A late row, with start and end of the session that it missed.
type Late = (Row, [String; 2]);

/// What is known of a key.
#[derive(Default)]
struct Known {
    open: Vec<Session>,
    /// The last session that was written.
    written: Option<(i64, i64)>,
    /// Rows before this are late.
    past: Option<i64>,
}

/// The rows and the late rows, with the sessions that they missed, of each epoch, by the model.
fn model(gap: i64, epochs: &[Epoch]) -> Vec<(Text, Vec<Late>)> {
    let mut known: BTreeMap<Option<&str>, Known> = BTreeMap::new();
    let mut watermark = i64::MIN;
    let mut all = Vec::new();
    for epoch in epochs {
        let (mut rows, mut late) = (Vec::new(), Vec::new());
        let mut write_late = |row: Row, (start, end): (i64, i64)| late.push((row, [stamp(start), stamp(end)]));
        let mut coming: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
        for row in epoch.batches.iter().flatten().cloned() {
            coming.entry(row.key).or_default().push(row);
        }
        for (key, rows) in coming {
            let known = known.entry(key).or_default();
            let forgotten = Some(watermark.saturating_sub(gap));
            if known.open.is_empty() && forgotten >= known.past {
                (known.written, known.past) = (None, forgotten);
            }
            for row in rows {
                let Some(time) = row.time else {
                    continue;
                };
                let own = (time, time + gap);
                if known.past.is_some_and(|past| time < past) {
                    let reaches = |written: &(i64, i64)| own.1 > written.0 && own.0 < written.1;
                    write_late(row, known.written.filter(reaches).unwrap_or(own));
                } else {
                    let (start, end) = own;
                    known.open.push(Session {
                        start,
                        end,
                        rows: vec![row],
                    });
                }
            }
        }
        for (key, known) in &mut known {
            known.open.sort_by_key(|session| session.start);
            known.open.dedup_by(|next, session| {
                let is_one = next.start < session.end;
                if is_one {
                    session.end = session.end.max(next.end);
                    session.rows.append(&mut next.rows);
                }
                is_one
            });
            for session in std::mem::take(&mut known.open) {
                let window = (session.start, session.end);
                if session.end <= watermark {
                    session.rows.into_iter().for_each(|row| write_late(row, window));
                } else if session.end <= epoch.watermark {
                    let numbers: Vec<_> = session.rows.iter().map(|row| row.number).collect();
                    let mut row = vec![key.unwrap_or_default().to_owned(), stamp(window.0), stamp(window.1)];
                    row.extend(results(&numbers));
                    rows.push(row);
                    (known.written, known.past) = (Some(window), Some(window.1));
                } else {
                    known.open.push(session);
                }
            }
        }
        watermark = epoch.watermark;
        all.push((sorted(rows), late));
    }
    all
}

/// Late rows as they came, and those without time.
fn as_rows(late: &[Late], epoch: &Epoch) -> Text {
    let with = |row: &Row, window: [String; 2]| {
        let mut out = text(&[super::rows(TimeUnit::Microsecond, std::slice::from_ref(row))]).remove(0);
        out.extend(window);
        out
    };
    let late = late.iter().map(|(row, window)| with(row, window.clone()));
    let timeless = epoch.batches.iter().flatten().filter(|row| row.time.is_none());
    sorted(
        late.chain(timeless.map(|row| with(row, ["".into(), "".into()])))
            .collect(),
    )
}

/// Late rows as what the functions make of each.
fn as_results(late: &[Late]) -> Text {
    let result = |(row, window): &Late| {
        let mut out = vec![row.key.unwrap_or_default().to_owned()];
        out.extend(window.clone());
        out.extend(results(&[row.number]));
        out
    };
    sorted(late.iter().map(result).collect())
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
            prop_assert_eq!(sorted(text(&out.late)), as_rows(&late, epoch));
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
            // What is late is no row any more, but what the functions made of it.
            prop_assert_eq!(sorted(text(&out.late)), as_results(&late));
            last.between(epoch.between, query.last());
        }
    }
}

#[test]
fn a_row_that_reaches_into_a_written_session_is_late_for_it_also_after_a_restart() {
    let query = Query {
        columns: vec![count()],
        ..sessions(10)
    };
    for between in [Between::Nothing, Between::Restart, Between::Snapshot] {
        let mut running = Running::new(query.single());
        let mut epoch = |coming: &[Row], watermark: i64| {
            let time = Time {
                watermark: watermark * SECOND,
                now: 0,
            };
            let out = running.epoch(&[rows(TimeUnit::Microsecond, coming)], time);
            running.between(between, query.single());
            (text(&out.rows), text(&out.late))
        };
        epoch(&[row(0, "a", 1), row(40, "b", 2)], 19);
        // 15 opens a session behind the written one; 8 would join both.
        epoch(&[row(15, "a", 3)], 21);
        let (_, late) = epoch(&[row(8, "a", 4), row(10, "a", 5)], 22);
        assert_eq!(late.len(), 1, "{late:?}");
        assert_eq!(late[0][4..], [stamp(0), stamp(10)]);
        let (written, late) = epoch(&[row(19, "a", 6)], i64::MAX / SECOND);
        assert_eq!(late, Text::new());
        let expected = [("a", 10, 29, "3"), ("b", 40, 50, "1")];
        let expected =
            expected.map(|(key, start, end, count)| vec![key.into(), stamp(start), stamp(end), count.to_owned()]);
        assert_eq!(written, expected);
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
