//! Reading a stretch of a partition.
use std::time::{Duration, Instant};

use crate::{Fetched, Log, LogError, Offset, OffsetRange, Reader, Result, TopicPartition};

/// How long to wait for records at once.
const WAIT: Duration = Duration::from_millis(100);
/// How long a log may give no answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may say that all is read before it is believed: while a broker takes over from another, its end may be behind.
const SETTLED: Duration = Duration::from_secs(5);

/// What lies in a range of offsets of a partition, in order, and nothing behind it.
pub struct Scan<'a> {
    log: &'a dyn Log,
    reader: Box<dyn Reader>,
    partition: TopicPartition,
    next: Offset,
    end: Offset,
    /// When something came last.
    heard: Instant,
}

impl<'a> Scan<'a> {
    /// Begins to read. The range is one that [`Log::offsets`] gave, or a part of it.
    pub fn open(log: &'a dyn Log, partition: &TopicPartition, range: OffsetRange) -> Result<Self> {
        Ok(Self {
            reader: log.read(vec![(partition.clone(), range.start)])?,
            log,
            partition: partition.clone(),
            next: range.start,
            end: range.end,
            heard: Instant::now(),
        })
    }

    /// The next records; none when there are no more, also where they were deleted meanwhile.
    ///
    /// Damaged records are told once, as [`LogError::Damaged`]; the next call goes on behind them.
    pub fn read(&mut self) -> Result<Option<Fetched>> {
        while self.next < self.end {
            match self.reader.poll(WAIT) {
                Ok(Some(fetched)) => return Ok(self.cut(fetched)),
                Ok(None) if self.reader.is_at_end() => {
                    if self.heard.elapsed() >= SETTLED || self.log.start(&self.partition)? >= self.end {
                        self.next = self.end;
                    }
                }
                Ok(None) if self.heard.elapsed() >= PATIENCE => {
                    return Err(LogError::Storage(format!(
                        "{} was not to be read for {} s, from offset {} on: is the log there?",
                        self.partition,
                        PATIENCE.as_secs(),
                        self.next
                    )));
                }
                Ok(None) => {}
                Err(error) => {
                    if let LogError::Damaged { offsets, .. } = &error {
                        self.next = offsets.end;
                    }
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// What of it lies in the range.
    fn cut(&mut self, mut fetched: Fetched) -> Option<Fetched> {
        self.heard = Instant::now();
        self.next = fetched.next_offset();
        if self.next > self.end {
            let keep = usize::try_from(self.end.saturating_sub(fetched.base_offset)).unwrap_or(usize::MAX);
            fetched.batch = fetched.batch.slice(0..keep);
        }
        Some(fetched).filter(|fetched| !fetched.batch.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Append, BatchBuilder, SqliteLog, TopicSpec};

    fn append(log: &dyn Log, to: &TopicPartition, values: &[&[u8]]) {
        let mut batch = BatchBuilder::new();
        for value in values {
            batch.push(None, value, 0, &[]).unwrap();
        }
        let append = Append {
            to: to.clone(),
            batch: batch.finish(),
        };
        log.append(vec![append]).unwrap().wait().unwrap();
    }

    fn values(scan: &mut Scan<'_>) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        while let Some(fetched) = scan.read().unwrap() {
            values.extend(fetched.batch.iter().map(|record| record.value.to_vec()));
        }
        values
    }

    #[test]
    fn a_scan_begins_and_ends_inside_of_batches() {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(folder.path()).unwrap();
        log.create_topic(&TopicSpec::new("t", 1)).unwrap();
        let partition = TopicPartition::new("t", 0);
        append(&log, &partition, &[b"a", b"b", b"c"]);
        append(&log, &partition, &[b"d", b"e", b"f"]);
        let mut scan = Scan::open(&log, &partition, 1..5).unwrap();
        assert_eq!(values(&mut scan), [b"b", b"c", b"d", b"e"]);
        assert!(Scan::open(&log, &partition, 3..3).unwrap().read().unwrap().is_none());
    }

    #[test]
    fn a_scan_ends_where_the_rest_was_deleted_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(folder.path()).unwrap();
        log.create_topic(&TopicSpec::new("t", 1)).unwrap();
        let partition = TopicPartition::new("t", 0);
        append(&log, &partition, &[b"a"]);
        append(&log, &partition, &[b"b"]);
        let mut scan = Scan::open(&log, &partition, 0..2).unwrap();
        log.delete_before(&partition, 2).unwrap();
        assert!(values(&mut scan).len() < 2);
    }
}
