//! Messages to listeners, as pure functions of what happened.
use std::{collections::VecDeque, fmt::Write};

use rechka_store::{Event, Row};

/// Rows of one message, at most.
const MOST_ROWS: usize = 1000;
/// Bytes of one message after which no more rows are added.
const ENOUGH_BYTES: usize = 256 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// `snapshot`, `update` or `delete`.
    pub event: &'static str,
    /// The members of its object.
    members: String,
    /// What is known after it; `None`: more belongs to it.
    pub position: Option<String>,
}

impl Message {
    /// An object without the event's name.
    pub fn data(&self) -> String {
        format!("{{{}}}", self.members)
    }

    /// An object with the event's name.
    pub fn to_json(&self) -> String {
        format!("{{\"event\":\"{}\",{}}}", self.event, self.members)
    }
}

/// What happened at once, message by message.
#[derive(Debug, Default)]
pub(super) struct Messages {
    parts: VecDeque<(&'static str, std::vec::IntoIter<Row>)>,
    position: String,
}

impl Messages {
    pub(super) fn of(event: Event) -> Self {
        let (parts, position) = match event {
            Event::Snapshot { rows, position } => ([("snapshot", rows), ("", Vec::new())], position),
            Event::Changes {
                updated,
                deleted,
                position,
            } => ([("delete", deleted), ("update", updated)], position),
        };
        // An empty snapshot is told too.
        let told = parts
            .into_iter()
            .filter(|(event, rows)| *event == "snapshot" || !rows.is_empty());
        Self {
            parts: told.map(|(event, rows)| (event, rows.into_iter())).collect(),
            position: position.to_string(),
        }
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let (event, rows) = self.parts.front_mut()?;
        let event = *event;
        let name = if event == "delete" { "keys" } else { "rows" };
        let mut members = format!("\"{name}\":[");
        let mut count = 0;
        while count < MOST_ROWS && members.len() < ENOUGH_BYTES {
            let Some(row) = rows.next() else { break };
            if count > 0 {
                members.push(',');
            }
            members.push_str(if event == "delete" { row.key() } else { row.value() });
            count += 1;
        }
        if rows.as_slice().is_empty() {
            self.parts.pop_front();
        }
        let more = !self.parts.is_empty();
        // Writing to a string can't fail.
        let _ = write!(members, "],\"more\":{more}");
        let position = (!more).then(|| std::mem::take(&mut self.position));
        if let Some(position) = &position {
            let _ = write!(members, ",\"position\":\"{position}\"");
        }
        Some(Message {
            event,
            members,
            position,
        })
    }
}
