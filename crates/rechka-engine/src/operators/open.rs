//! Rows that wait for the watermark.

/// So many rows share one bound, so that few are looked at when the watermark moves.
const BLOCK: usize = 1024;

/// Which rows (by number) still wait to be put out when the watermark has passed a time of theirs.
#[derive(Debug, Default)]
pub(super) struct Open {
    rows: Vec<bool>,
    /// For each block no more than the earliest time of its open rows.
    earliest: Vec<i64>,
}

impl Open {
    /// The next row.
    pub fn push(&mut self, time: i64, open: bool) {
        if self.rows.len().is_multiple_of(BLOCK) {
            self.earliest.push(i64::MAX);
        }
        self.rows.push(open);
        if let (true, Some(earliest)) = (open, self.earliest.last_mut()) {
            *earliest = time.min(*earliest);
        }
    }

    pub fn is_open(&self, row: usize) -> bool {
        self.rows[row]
    }

    /// The row waits no longer. Whether it did.
    pub fn close(&mut self, row: usize) -> bool {
        std::mem::replace(&mut self.rows[row], false)
    }

    /// The rows that wait no longer.
    pub fn closed(&self) -> impl Iterator<Item = usize> {
        self.rows
            .iter()
            .enumerate()
            .filter(|(_, open)| !**open)
            .map(|(row, _)| row)
    }

    /// Closes the open rows whose time is not after this, and gives their numbers.
    pub fn close_through(&mut self, last: i64, times: &[i64]) -> Vec<u32> {
        let mut closed = Vec::new();
        for (block, earliest) in self.earliest.iter_mut().enumerate() {
            if *earliest > last {
                continue;
            }
            *earliest = i64::MAX;
            let rows = self
                .rows
                .iter_mut()
                .zip(times)
                .enumerate()
                .skip(block * BLOCK)
                .take(BLOCK);
            for (row, (open, time)) in rows {
                if *open && *time <= last {
                    *open = false;
                    closed.push(row as u32);
                } else if *open {
                    *earliest = (*earliest).min(*time);
                }
            }
        }
        closed
    }

    pub fn bytes(&self) -> usize {
        self.rows.capacity() + self.earliest.capacity() * size_of::<i64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_closed_once_when_its_time_has_passed() {
        let times: Vec<i64> = (0..3_000).map(|row| (row * 7) % 3_000).collect();
        let mut open = Open::default();
        for (row, time) in times.iter().enumerate() {
            open.push(*time, row != 1);
        }
        assert!(open.close(0));
        assert!(!open.close(0));
        let through = |time: i64| (2..3_000_u32).filter(move |row| (i64::from(*row) * 7) % 3_000 <= time);
        assert_eq!(open.close_through(10, &times), through(10).collect::<Vec<_>>());
        assert!(open.close_through(10, &times).is_empty());
        assert_eq!(
            open.close_through(i64::MAX, &times).len(),
            3_000 - 2 - through(10).count()
        );
        assert_eq!(open.closed().count(), 3_000);
    }
}
