//! What a query's result says about its time to the queries that read it.
//!
//! A header of records, `<milliseconds> <column>`: behind this record no row of its partition has an earlier time in that column. The
//! last record of an epoch has the watermark; the first has one too, that says nothing, so that a reader knows from the first record
//! on that it is told and must not guess by the greatest time and the declared delay. That guess would be wrong where streams come
//! together of which one is behind. Who does not know the header reads the records as they are.
use rechka_log::{Batch, RecordRef};

/// The name of the header.
pub(super) const HEADER: &str = "rechka.watermark";

/// The value of the header. Whole milliseconds are enough: windows end on them.
pub(super) fn value(watermark: i64, column: &str) -> String {
    format!("{} {column}", watermark.div_euclid(1000))
}

/// The watermark, in microseconds, that records announce for a column. It is of their first or of their last one.
pub(super) fn read(batch: &Batch, column: &str) -> Option<i64> {
    let record = |number: usize| batch.get(number).and_then(|record| read_record(&record, column));
    record(batch.len().saturating_sub(1)).or_else(|| record(0))
}

fn read_record(record: &RecordRef<'_>, column: &str) -> Option<i64> {
    let said = std::str::from_utf8(record.header(HEADER)?).ok()?;
    let (milliseconds, of) = said.split_once(' ')?;
    let milliseconds: i64 = milliseconds.parse().ok()?;
    (of == column).then(|| milliseconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use rechka_log::BatchBuilder;

    use super::*;

    fn batch(headers: &[&str]) -> Batch {
        let mut batch = BatchBuilder::new();
        for header in headers {
            batch.push(None, b"{}", 0, &[(HEADER, header.as_bytes())]).unwrap();
        }
        batch.finish()
    }

    #[test]
    fn a_watermark_comes_back_rounded_down_to_milliseconds() {
        let told = |watermark| read(&batch(&[&value(watermark, "a b")]), "a b");
        assert_eq!(told(1_234_567), Some(1_234_000));
        assert_eq!(told(-1), Some(-1000));
        assert_eq!(told(i64::MIN), Some(i64::MIN));
    }

    #[test]
    fn the_last_record_counts_and_then_the_first() {
        assert_eq!(read(&batch(&["1 ts", "2 ts", "3 ts"]), "ts"), Some(3000));
        assert_eq!(read(&batch(&["1 ts", "2 ts", "3"]), "ts"), Some(1000));
    }

    #[test]
    fn what_is_said_of_another_column_or_in_other_words_is_not_meant() {
        for said in ["1 at", "1", "x ts", "99999999999999999999 ts", ""] {
            assert_eq!(read(&batch(&[said]), "ts"), None, "{said:?}");
        }
        assert_eq!(read(&BatchBuilder::new().finish(), "ts"), None);
    }
}
