//! Rows for which an expression can't be computed.
use arrow::array::RecordBatch;

use crate::{EngineError, Result};

/// A row that was left out, because an expression failed on it.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The row, alone.
    pub row: RecordBatch,
    /// What is wrong with it.
    pub reason: String,
}

/// Works on rows: on all at once, or, when an expression fails, on halves, until the rows on which it does are alone. Gives the
/// numbers of those, ascending, and what is wrong with each. `work` gets the number of the first row that it is given; if it fails by
/// an [`EngineError::Expression`], it has changed nothing.
pub(crate) fn work_on(
    rows: &RecordBatch,
    mut work: impl FnMut(usize, &RecordBatch) -> Result<()>,
) -> Result<Vec<(usize, String)>> {
    let mut failing = Vec::new();
    // The last is next, so that the order stays.
    let mut parts = vec![(0, rows.clone())];
    while let Some((first, rows)) = parts.pop() {
        match work(first, &rows) {
            Err(EngineError::Expression(reason)) if rows.num_rows() <= 1 => failing.push((first, reason)),
            Err(EngineError::Expression(_)) => {
                let half = rows.num_rows() / 2;
                parts.push((first + half, rows.slice(half, rows.num_rows() - half)));
                parts.push((first, rows.slice(0, half)));
            }
            result => result?,
        }
    }
    Ok(failing)
}

#[cfg(test)]
mod tests {
    use arrow::{array::AsArray, datatypes::Int64Type};
    use proptest::prelude::*;

    use super::{super::testing::numbers, *};

    proptest! {
        #[test]
        fn all_rows_but_the_failing_are_worked_on_once_and_in_order(fails in prop::collection::vec(any::<bool>(), 0..40)) {
            let rows = numbers([("n", (0..fails.len() as i64).map(Some).collect())]);
            let mut done: Vec<i64> = Vec::new();
            let failing = work_on(&rows, |first, part| {
                let part = part.column(0).as_primitive::<Int64Type>().values();
                assert!(part.iter().copied().eq(first as i64..first as i64 + part.len() as i64));
                match part.iter().any(|number| fails[*number as usize]) {
                    true => Err(EngineError::Expression("bad".into())),
                    false => {
                        done.extend(part);
                        Ok(())
                    }
                }
            });
            let numbers = |bad: bool| (0..fails.len()).filter(|number| fails[*number] == bad).collect::<Vec<_>>();
            prop_assert_eq!(failing.unwrap().into_iter().map(|(row, _)| row).collect::<Vec<_>>(), numbers(true));
            prop_assert_eq!(done.into_iter().map(|number: i64| number as usize).collect::<Vec<_>>(), numbers(false));
        }
    }

    #[test]
    fn an_error_that_is_no_rows_fault_ends_the_work() {
        let rows = numbers([("n", vec![Some(1), Some(2)])]);
        assert!(work_on(&rows, |_, _| Err(EngineError::Query("broken".into()))).is_err());
    }
}
