//! `rechka consume TOPIC`: records out.
mod text;

use std::{collections::HashMap, io::Write, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use rechka_log::{Fetched, LogError, RecordRef, TopicPartition};
use serde_json::{Value, json};

use crate::cli::{Consume, RecordFormat};
use text::TextWriter;

/// Prints the topic's records to the end it has now, or for ever with `--follow`.
pub fn run(arguments: &Consume) -> Result<()> {
    let log = arguments.log.log.open_read_only()?;
    let topic = log
        .topics()?
        .into_iter()
        .find(|topic| *topic.name == *arguments.topic)
        .ok_or_else(|| LogError::UnknownTopic(arguments.topic.clone()))?;
    let mut from = Vec::new();
    let mut unread = HashMap::new();
    for partition in 0..topic.partitions {
        let partition = TopicPartition::new(topic.name.clone(), partition);
        let range = log.offsets(&partition)?;
        let offset = arguments.from.offset(&range);
        if offset < range.end {
            unread.insert(partition.clone(), range.end);
        }
        from.push((partition, offset));
    }
    let mut reader = log.read(from)?;
    let mut writer = Writer::new(arguments);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    out.write_all(writer.head().as_bytes())?;
    while arguments.follow || !unread.is_empty() {
        let Some(fetched) = reader.poll(Duration::from_secs(1))? else {
            // What retention has deleted meanwhile will not come any more.
            for (partition, end) in std::mem::take(&mut unread) {
                if log.offsets(&partition)?.start < end {
                    unread.insert(partition, end);
                }
            }
            continue;
        };
        let text = writer.write(&fetched)?;
        let written = out.write_all(&text).and_then(|()| out.flush());
        if written
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        {
            return Ok(()); // `| head` has seen enough
        }
        written.context("writing to standard output")?;
        if unread
            .get(&fetched.from)
            .is_some_and(|end| fetched.next_offset() >= *end)
        {
            unread.remove(&fetched.from);
        }
    }
    Ok(())
}

/// What is printed of records.
struct Writer<'a> {
    format: RecordFormat,
    session: Option<&'a str>,
    /// For the formats of text.
    text: Option<TextWriter>,
}

impl<'a> Writer<'a> {
    fn new(arguments: &'a Consume) -> Self {
        let session = arguments.session.as_deref();
        Self {
            format: arguments.format,
            session,
            text: TextWriter::new(arguments.format, session.is_none()),
        }
    }

    fn head(&self) -> &'static str {
        self.text.as_ref().map_or("", TextWriter::head)
    }

    fn write(&mut self, fetched: &Fetched) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (record, offset) in fetched.batch.iter().zip(fetched.base_offset..) {
            if self
                .session
                .is_some_and(|session| record.key != Some(session.as_bytes()))
            {
                continue;
            }
            match &mut self.text {
                Some(text) => {
                    let text = text.write(record.value).with_context(|| {
                        format!("{} at offset {offset}; --format value prints it as it is", fetched.from)
                    })?;
                    out.extend_from_slice(text.as_bytes());
                }
                None => {
                    match self.format {
                        RecordFormat::Json => write!(out, "{}", describe(fetched, offset, &record))?,
                        _ => out.extend_from_slice(record.value),
                    }
                    out.push(b'\n');
                }
            }
        }
        Ok(out)
    }
}

fn describe(fetched: &Fetched, offset: u64, record: &RecordRef<'_>) -> Value {
    json!({
        "partition": fetched.from.partition,
        "offset": offset,
        "timestamp": record.timestamp,
        "key": record.key.map(text),
        "headers": record.headers().map(|(name, value)| (name.to_owned(), text(value))).collect::<serde_json::Map<_, _>>(),
        "value": text(record.value),
    })
}

/// Text as it is; other bytes as `{"base64": …}`.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64_STANDARD.encode(bytes) }),
    }
}
