//! How far a session is in the log.
use std::time::Duration;

use anyhow::{Result, bail};
use rechka_log::{Log, LogError, RecordRef, TopicPartition};
use rechka_types::headers;

use super::speaker::FORMAT;

/// How long to wait for records that the log says are there.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far a session is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// This frame comes next; 0, if there is nothing of it.
    At(u64),
    /// Nothing comes any more.
    Complete,
}

/// Reads the session's partition. Fails when the session's sound has another format than ours.
pub fn find(log: &dyn Log, partition: &TopicPartition, session: &str) -> Result<Place> {
    let offsets = log.offsets(partition)?;
    let mut place = Place::At(0);
    let mut next = offsets.start;
    let mut reader = log.read(vec![(partition.clone(), next)])?;
    while next < offsets.end {
        match reader.poll(PATIENCE) {
            Ok(Some(fetched)) => {
                next = fetched.next_offset();
                for record in fetched.batch.iter() {
                    if record.key == Some(session.as_bytes()) {
                        place = after(place, &record, session)?;
                    }
                }
            }
            Ok(None) if reader.is_at_end() => break,
            Ok(None) => {}
            // What it held is missing to the session, and is said to be when it is recognised.
            Err(LogError::Damaged { offsets, .. }) => next = offsets.end,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(place)
}

fn after(place: Place, record: &RecordRef<'_>, session: &str) -> Result<Place> {
    if record.header(headers::CONTROL) == Some(headers::END.as_bytes()) {
        return Ok(Place::Complete);
    }
    let Place::At(frame) = place else { return Ok(place) };
    let is_ours = FORMAT.iter().all(|(name, value)| record.header(name) == Some(*value));
    let first = record
        .header(headers::FRAME)
        .and_then(|first| std::str::from_utf8(first).ok()?.parse().ok());
    let Some(first): Option<u64> = first.filter(|_| is_ours) else {
        bail!("session {session} has sound that another program wrote: take another name (--session NAME)");
    };
    Ok(Place::At(
        frame.max(first.saturating_add(record.value.len() as u64 / 2)),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rechka_log::{Append, BatchBuilder, SqliteLog, TopicSpec};

    use super::{super::speaker::Speaker, *};

    #[test]
    fn a_session_is_found_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path()).unwrap());
        let topic = TopicSpec::new("audio-stream", 1);
        log.create_topic(&topic).unwrap();
        let partition = TopicPartition::new("audio-stream", 0);
        let place = |session: &str| find(&*log, &partition, session);
        assert_eq!(place("anna").unwrap(), Place::At(0));
        let mut anna = Speaker::new(log.clone(), &topic, "anna", 0);
        let mut boris = Speaker::new(log.clone(), &topic, "boris", 0);
        anna.say(&[0; 4_000]).unwrap();
        anna.settle(0).unwrap();
        boris.say(&[0; 100]).unwrap();
        boris.end().unwrap();
        assert_eq!(place("anna").unwrap(), Place::At(4_000));
        assert_eq!(place("boris").unwrap(), Place::Complete);
        let mut anna = Speaker::new(log.clone(), &topic, "anna", 4_000);
        anna.say(&[0; 10]).unwrap();
        anna.settle(0).unwrap();
        assert_eq!(place("anna").unwrap(), Place::At(4_010));
        anna.end().unwrap();
        assert_eq!(place("anna").unwrap(), Place::Complete);

        let mut batch = BatchBuilder::new();
        batch.push(Some(b"vera"), b"..", 0, &[]).unwrap();
        let append = Append {
            to: partition.clone(),
            batch: batch.finish(),
        };
        log.append(vec![append]).unwrap().wait().unwrap();
        assert!(place("vera").unwrap_err().to_string().contains("--session NAME"));
    }
}
