//! Records of a topic, as far as it goes now.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rechka_log::{Log, Partition, TopicPartition};

/// How long the log may be silent before its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys and values, by partition; none if there is no such topic.
pub fn records(log: &dyn Log, topic: &str) -> Vec<(String, String)> {
    let topics = log.topics().unwrap();
    let partitions = topics
        .iter()
        .find(|spec| &*spec.name == topic)
        .map_or(0, |spec| spec.partitions);
    (0..partitions)
        .flat_map(|partition| of_partition(log, topic, partition))
        .collect()
}

/// The last value of every key: of a view, how often it changed is the epochs' affair.
pub fn last_rows(log: &dyn Log, topic: &str) -> Vec<String> {
    let last: BTreeMap<_, _> = records(log, topic).into_iter().collect();
    last.into_values().collect()
}

fn of_partition(log: &dyn Log, topic: &str, partition: Partition) -> Vec<(String, String)> {
    let name = TopicPartition::new(topic, partition);
    let range = log.offsets(&name).unwrap();
    let (mut next, mut found) = (range.start, Vec::new());
    if range.is_empty() {
        return found;
    }
    let mut reader = log.read(vec![(name.clone(), range.start)]).unwrap();
    let mut heard = Instant::now();
    while next < range.end {
        let Some(fetched) = reader.poll(Duration::from_secs(1)).unwrap() else {
            assert!(
                heard.elapsed() < PATIENCE,
                "{name}: nothing came from {next} on, of {}",
                range.end
            );
            continue;
        };
        heard = Instant::now();
        next = fetched.next_offset();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let batch = fetched.batch.iter();
        found.extend(batch.map(|record| (text(record.key.unwrap_or_default()), text(record.value))));
    }
    found
}
