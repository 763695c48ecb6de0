//! `rechka status`: how the running queries go.
use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use rechka_log::TopicPartition;
use rechka_types::topics::STATUS;

use crate::{cli::Status, queries::QueryStatus, status_table::StatusTable};

/// Prints what the queries told last; with `--follow` every second.
pub fn run(arguments: &Status) -> Result<()> {
    let log = arguments.log.log.open_read_only()?;
    if !log.topics()?.iter().any(|topic| &*topic.name == STATUS) {
        bail!("no query has run over this log yet: rechka run FILE");
    }
    let partition = TopicPartition::new(STATUS, 0);
    let start = log.offsets(&partition)?.start;
    let mut reader = log.read(vec![(partition.clone(), start)])?;
    let mut last = BTreeMap::<String, QueryStatus>::new();
    let mut next = start;
    let mut table = StatusTable::new(true);
    loop {
        let end = log.offsets(&partition)?.end;
        while next < end {
            let Some(fetched) = reader.poll(Duration::from_secs(1))? else {
                if reader.is_at_end() {
                    break;
                }
                continue;
            };
            next = fetched.next_offset();
            for record in fetched.batch.iter() {
                let status: QueryStatus = serde_json::from_slice(record.value)?;
                last.insert(status.query.clone(), status);
            }
        }
        let status: Vec<_> = last.values().cloned().collect();
        if !arguments.follow {
            print!("{}", table.text(&status));
            return Ok(());
        }
        table.show(&status);
        std::thread::sleep(Duration::from_secs(1));
    }
}
