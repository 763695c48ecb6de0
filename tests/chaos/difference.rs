//! What is there beside what should be there.
use std::{collections::BTreeMap, fmt::Write};

/// Lines of a difference that are shown.
const SHOWN: usize = 10;

/// Compares rows, each as often as it is there, whatever their order; says how they differ.
pub fn of_rows(what: &str, expected: &[String], found: &[String]) -> Option<String> {
    let mut balance = BTreeMap::<&str, i64>::new();
    found.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    expected.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    balance.retain(|_, times| *times != 0);
    if balance.is_empty() {
        return None;
    }
    let missing: i64 = balance.values().filter(|times| **times < 0).sum();
    let surplus: i64 = balance.values().filter(|times| **times > 0).sum();
    let mut text = format!("{what}: {} rows are missing, {surplus} are too many", -missing);
    for (row, times) in balance.iter().take(SHOWN) {
        let _ = write!(text, "\n  {times:+} {row}");
    }
    Some(text)
}

/// Compares lines in their order; says where they part.
pub fn of_lines(what: &str, expected: &[String], found: &[String]) -> Option<String> {
    let at = expected
        .iter()
        .zip(found)
        .take_while(|(one, other)| one == other)
        .count();
    if at == expected.len() && at == found.len() {
        return None;
    }
    let line = |lines: &[String]| lines.get(at).map_or("nothing".to_owned(), Clone::clone);
    let (wanted, there) = (line(expected), line(found));
    let (all, many) = (expected.len(), found.len());
    Some(format!(
        "{what}: {many} of {all} lines; line {} is\n  {there}\n  instead of\n  {wanted}",
        at + 1
    ))
}

#[test]
fn rows_that_are_missing_and_rows_that_came_twice_are_differences() {
    let rows = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let expected = rows("a b c");
    assert_eq!(of_rows("rows", &expected, &rows("c a b")), None);
    let missing = of_rows("rows", &expected, &rows("a c")).unwrap();
    assert!(
        missing.contains("1 rows are missing, 0 are too many\n  -1 b"),
        "{missing}"
    );
    let doubled = of_rows("rows", &expected, &rows("a b b c")).unwrap();
    assert!(
        doubled.contains("0 rows are missing, 1 are too many\n  +1 b"),
        "{doubled}"
    );
    let changed = of_rows("rows", &expected, &rows("a x c")).unwrap();
    assert!(changed.contains("-1 b\n  +1 x"), "{changed}");
}

#[test]
fn lines_in_another_order_are_a_difference() {
    let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let expected = lines("a b c");
    assert_eq!(of_lines("lines", &expected, &lines("a b c")), None);
    for wrong in ["a c b", "a b", "a b c c", "a a b c"] {
        assert!(of_lines("lines", &expected, &lines(wrong)).is_some(), "{wrong}");
    }
}
