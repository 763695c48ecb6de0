//! Names of topics, and how they are declared. Only characters that Kafka allows: `a-z A-Z 0-9 . _ -`.
use std::time::Duration;

use rechka_log::{Log, LogError, Partition, Result, Retention, TopicSpec};

/// Audio as it came, before recognition. Key: the session.
pub const AUDIO: &str = "audio-stream";
/// Final segments ([`crate::Transcript`]), written exactly once. Key: the session.
pub const TRANSCRIPTS: &str = "transcripts";
/// Captions that may still change ([`crate::Partial`]): superseded at once, kept shortly, outside transactions. Key: the session.
pub const PARTIALS: &str = "transcripts.partial";

/// The most audio in one record of [`AUDIO`], in seconds.
pub const MAX_RECORD_SECONDS: usize = 60;

/// The texts of the pipelines that run over the log. Key: the pipeline. Compacted.
pub const PIPELINES: &str = "rechka.pipelines";
/// How running queries go, told every second. Key: the query. Compacted.
pub const STATUS: &str = "rechka.status";

/// The topic of records that could not be processed, with the reason.
pub fn dead(topic: &str) -> String {
    format!("{topic}.dead")
}

/// The topic of captions that may still change, beside one of transcripts: superseded at once, kept shortly, outside transactions.
pub fn partial(transcripts: &str) -> String {
    format!("{transcripts}.partial")
}

/// Makes those topics that are missing: [`AUDIO`], [`TRANSCRIPTS`], [`PARTIALS`], and the caller's `own`, for as many partitions
/// as audio has, which is `partitions` if it is new. A session has the same partition number in all topics.
///
/// Returns the number of partitions that audio has. Fails with [`LogError::TopicDiffers`] when a topic has another number.
pub fn ensure(
    log: &dyn Log,
    partitions: Partition,
    own: impl FnOnce(Partition) -> Vec<TopicSpec>,
) -> Result<Partition> {
    let existing = log.topics()?;
    let find = |name: &str| existing.iter().find(|spec| &*spec.name == name);
    let partitions = find(AUDIO).map_or(partitions.max(1), |spec| spec.partitions);
    let mut specs = vec![
        TopicSpec::new(AUDIO, partitions),
        TopicSpec::new(TRANSCRIPTS, partitions),
        TopicSpec {
            retention: Retention {
                age: Some(Duration::from_secs(600)),
                bytes: Some(64 << 20),
            },
            ..TopicSpec::new(PARTIALS, partitions)
        },
    ];
    specs.extend(own(partitions));
    for spec in specs {
        match find(&spec.name) {
            None => log.create_topic(&spec)?,
            Some(found) if found.partitions != spec.partitions => {
                return Err(LogError::TopicDiffers {
                    topic: spec.name.to_string(),
                    difference: format!(
                        "it has {} partitions, but {} are needed where {AUDIO:?} has {partitions}",
                        found.partitions, spec.partitions
                    ),
                });
            }
            Some(_) => {}
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use rechka_log::SqliteLog;

    use super::*;

    fn declared(log: &SqliteLog) -> Vec<(String, Partition)> {
        let specs = log.topics().unwrap();
        specs
            .iter()
            .map(|spec| (spec.name.to_string(), spec.partitions))
            .collect()
    }

    #[test]
    fn topics_are_made_for_as_many_partitions_as_audio_has() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        log.create_topic(&TopicSpec::new(AUDIO, 3)).unwrap();
        let own = |partitions| vec![TopicSpec::new("own", partitions)];
        for _ in 0..2 {
            assert_eq!(ensure(&log, 8, own).unwrap(), 3);
        }
        let expected = [(AUDIO, 3), ("own", 3), (TRANSCRIPTS, 3), (PARTIALS, 3)];
        assert_eq!(
            declared(&log),
            expected.map(|(name, partitions)| (name.to_owned(), partitions))
        );
    }

    #[test]
    fn a_topic_with_another_number_of_partitions_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(directory.path()).unwrap();
        log.create_topic(&TopicSpec::new(TRANSCRIPTS, 1)).unwrap();
        let error = ensure(&log, 2, |_| vec![]).unwrap_err().to_string();
        assert!(error.contains("it has 1 partitions, but 2 are needed"), "{error}");
    }
}
