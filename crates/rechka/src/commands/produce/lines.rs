//! Lines in, records out.
use std::{collections::VecDeque, io::BufRead};

use anyhow::{Context, Result};
use rechka_log::{Ack, Append, BatchBuilder, Log, TopicPartition, TopicSpec, partition_for_key};

use super::now;

/// Bytes of lines that go into one append.
const BATCH_BYTES: usize = 512 * 1024;
/// Appends under way at once.
const WAITING: usize = 8;

/// Appends standard input, line by line; returns when all of it is durable.
pub fn append(log: &dyn Log, topic: &TopicSpec, key_separator: Option<&str>) -> Result<()> {
    let mut builders: Vec<BatchBuilder> = (0..topic.partitions).map(|_| BatchBuilder::new()).collect();
    let mut acks: VecDeque<Ack> = VecDeque::new();
    let (mut records, mut bytes) = (0u64, 0usize);
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let at_end = input.read_until(b'\n', &mut line).context("reading standard input")? == 0;
        if !at_end {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let (key, value) = split(text, key_separator);
            let partition = match key {
                Some(key) => partition_for_key(key, topic.partitions),
                None => (records % u64::from(topic.partitions)) as u32,
            };
            builders[partition as usize]
                .push(key, value, now(), &[])
                .with_context(|| format!("line {}", records + 1))?;
            records += 1;
            bytes += text.len();
        }
        if bytes >= BATCH_BYTES || at_end {
            let appends: Vec<Append> = builders
                .iter_mut()
                .zip(0..)
                .filter(|(builder, _)| !builder.is_empty())
                .map(|(builder, partition)| Append {
                    to: TopicPartition::new(topic.name.clone(), partition),
                    batch: std::mem::take(builder).finish(),
                })
                .collect();
            if !appends.is_empty() {
                acks.push_back(log.append(appends)?);
            }
            bytes = 0;
        }
        while acks.len() > if at_end { 0 } else { WAITING } {
            if let Some(ack) = acks.pop_front() {
                ack.wait()?;
            }
        }
        if at_end {
            break;
        }
    }
    eprintln!("{records} records in {}", topic.name);
    Ok(())
}

/// Key and value of a line.
fn split<'a>(line: &'a [u8], separator: Option<&str>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator.map(str::as_bytes).filter(|separator| !separator.is_empty()) else {
        return (None, line);
    };
    match line.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_before_the_separator() {
        assert_eq!(split(b"a:b:c", Some(":")), (Some(&b"a"[..]), &b"b:c"[..]));
        assert_eq!(split(b"abc", Some(":")), (None, &b"abc"[..]));
        assert_eq!(split(b"a:b", None), (None, &b"a:b"[..]));
        assert_eq!(split(b"a => b", Some(" => ")), (Some(&b"a"[..]), &b"b"[..]));
    }
}
