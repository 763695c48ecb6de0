//! How queries go, as a table on the terminal.
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use indicatif::{HumanBytes, HumanCount};

use crate::queries::QueryStatus;

/// Draws the table again in its place.
pub struct StatusTable {
    /// Whether anybody watches: otherwise nothing is drawn again and again.
    live: bool,
    lines: usize,
    before: HashMap<String, (Instant, u64)>,
}

impl StatusTable {
    /// `live`: on a terminal.
    pub fn new(live: bool) -> Self {
        Self {
            live,
            lines: 0,
            before: HashMap::new(),
        }
    }

    /// Draws it.
    pub fn show(&mut self, status: &[QueryStatus]) {
        if !self.live {
            return;
        }
        let text = self.text(status);
        if self.lines > 0 {
            eprint!("\x1b[{}A\x1b[J", self.lines);
        }
        self.lines = text.lines().count();
        eprint!("{text}");
    }

    /// The table as text; rates are since the last call.
    pub fn text(&mut self, status: &[QueryStatus]) -> String {
        let header = [
            "query", "tasks", "records", "/s", "lag", "behind", "late", "dead", "state", "standbys", "epoch",
        ];
        let mut rows = vec![header.map(str::to_owned)];
        for status in status {
            let rate = self.rate(status);
            rows.push([
                status.query.clone(),
                status.tasks.to_string(),
                HumanCount(status.records_in).to_string(),
                rate.map_or_else(|| "-".to_owned(), |rate| HumanCount(rate).to_string()),
                HumanCount(status.lag).to_string(),
                status.watermark.map_or_else(|| "-".to_owned(), behind),
                HumanCount(status.late).to_string(),
                HumanCount(status.dead).to_string(),
                HumanBytes(status.state_bytes as u64).to_string(),
                match status.standbys {
                    0 => "-".to_owned(),
                    copies => format!("{copies}, {}", HumanBytes(status.standby_bytes as u64)),
                },
                format!("{:.0} ms", status.epoch_ms),
            ]);
        }
        let widths: Vec<usize> = (0..header.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &rows {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => text.push_str(&format!("{cell:<width$}")),
                    _ => text.push_str(&format!("  {cell:>width$}")),
                }
            }
            text.push('\n');
        }
        for status in status {
            if let Some(error) = &status.error {
                text.push_str(&format!("{}: {error}\n", status.query));
            }
        }
        text
    }

    fn rate(&mut self, status: &QueryStatus) -> Option<u64> {
        let now = Instant::now();
        let (then, records) = self.before.insert(status.query.clone(), (now, status.records_in))?;
        let seconds = now.duration_since(then).as_secs_f64();
        (seconds > 0.0).then(|| (status.records_in.saturating_sub(records) as f64 / seconds) as u64)
    }
}

/// How far a watermark is behind the wall clock.
fn behind(watermark: i64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let behind = now.saturating_sub(Duration::from_millis(u64::try_from(watermark).unwrap_or_default()));
    match behind.as_secs() {
        seconds @ 0..600 => format!("{:.1} s", seconds as f64 + f64::from(behind.subsec_millis()) / 1e3),
        seconds @ 600..172_800 => format!("{} min", seconds / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}
