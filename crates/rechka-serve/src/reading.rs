//! Reading a stretch of the log.
use std::{ops::Range, sync::Arc};

use rechka_log::{Log, LogError, Offset, RecordRef, Result, Scan, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shows the records of a partition in a range of offsets to `visit`, in order, until it returns false.
/// Damaged ones are left out.
pub(crate) fn scan(
    log: &dyn Log,
    partition: &TopicPartition,
    range: Range<Offset>,
    mut visit: impl FnMut(Offset, RecordRef<'_>) -> bool,
) -> Result<()> {
    let mut scan = Scan::open(log, partition, range)?;
    loop {
        let fetched = match scan.read() {
            Ok(Some(fetched)) => fetched,
            Ok(None) => return Ok(()),
            Err(LogError::Damaged { offsets, reason, .. }) => {
                tracing::warn!(%partition, ?offsets, reason, "damaged records are left out");
                continue;
            }
            Err(error) => return Err(error),
        };
        for (offset, record) in (fetched.base_offset..).zip(fetched.batch.iter()) {
            if !visit(offset, record) {
                return Ok(());
            }
        }
    }
}

/// A header that is a decimal number.
pub(crate) fn header_number(record: &RecordRef<'_>, name: &str) -> Option<u64> {
    std::str::from_utf8(record.header(name)?).ok()?.parse().ok()
}

/// The log, for handlers that read old records: only so many at once, each on a thread that may block.
#[derive(Clone)]
pub(crate) struct Library {
    log: Arc<dyn Log>,
    places: Arc<Semaphore>,
}

impl Library {
    /// At most `readers` at once.
    pub fn new(log: Arc<dyn Log>, readers: usize) -> Self {
        Self {
            log,
            places: Arc::new(Semaphore::new(readers)),
        }
    }

    /// Runs `read` as soon as there is a place.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Log) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The semaphore is never closed; were it, reading without a place would do no harm.
        let place: Option<OwnedSemaphorePermit> = self.places.clone().acquire_owned().await.ok();
        let log = self.log.clone();
        let work = tokio::task::spawn_blocking(move || {
            let result = read(&*log);
            drop(place);
            result
        });
        work.await.unwrap_or(Err(rechka_log::LogError::Closed))
    }
}
