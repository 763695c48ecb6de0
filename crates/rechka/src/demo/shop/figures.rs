//! What the pipeline has found out, read from its views, and how that looks as text.
use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use rechka_store::Views;
use serde::{Deserialize, de::DeserializeOwned};

use crate::queries::QueryStatus;

/// Minutes of revenue that are added up.
const MINUTES: usize = 5;
/// Columns of the longest bar.
const BAR: usize = 32;
/// Anomalies that are shown: the latest.
const ANOMALIES: usize = 3;
/// Rows read of a view, at most: more than days of the shop make.
const MOST_ROWS: usize = 100_000;

/// The shop at one moment.
#[derive(Debug, Default)]
pub struct Figures {
    /// The minutes that `revenue` is of: the first one's start, the last one's end.
    minutes: Option<(String, String)>,
    /// By category.
    revenue: BTreeMap<String, f64>,
    orders: u64,
    /// The latest window's, best first.
    trending: Vec<Trending>,
    anomalies: Vec<Anomaly>,
    customers: usize,
    visits: u64,
    conversions: u64,
    late: u64,
    dead: usize,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Revenue {
    window_start: String,
    window_end: String,
    category: String,
    orders: u64,
    revenue: f64,
}

#[derive(Debug, Deserialize)]
struct Trending {
    window_end: String,
    place: u64,
    name: String,
    views: u64,
}

#[derive(Debug, Deserialize)]
struct Anomaly {
    minute: String,
    name: String,
    views: u64,
    mean: f64,
}

impl Figures {
    /// Reads them. `dead`: broken records.
    pub fn read(views: &Views, status: &[QueryStatus], dead: usize) -> Result<Self> {
        let rows_out = |name: &str| {
            let of_name = status.iter().find(|status| status.query == name);
            of_name.map_or(0, |status| status.rows_out)
        };
        let error = status.iter().find_map(|status| {
            let error = status.error.as_ref()?;
            Some(format!("{}: {error}", status.query))
        });
        let mut anomalies: Vec<Anomaly> = rows(views, "anomalies")?;
        anomalies.sort_by(|a, b| b.minute.cmp(&a.minute));
        anomalies.truncate(ANOMALIES);
        let figures = Self {
            anomalies,
            trending: latest(rows(views, "trending")?),
            customers: views.get("user_features")?.statistics().rows,
            visits: rows_out("visits"),
            conversions: rows_out("conversions"),
            late: status.iter().map(|status| status.late).sum(),
            dead,
            error,
            ..Self::default()
        };
        Ok(figures.with_revenue(rows(views, "revenue")?))
    }

    /// Adds up the latest minutes.
    fn with_revenue(mut self, mut rows: Vec<Revenue>) -> Self {
        rows.sort_by(|a, b| b.window_start.cmp(&a.window_start));
        let mut starts: Vec<&str> = rows.iter().map(|row| row.window_start.as_str()).collect();
        starts.dedup();
        let first = starts
            .get(MINUTES - 1)
            .or(starts.last())
            .map(|start| (*start).to_owned());
        // Categories without orders are shown too.
        for row in &rows {
            let sum = self.revenue.entry(row.category.clone()).or_default();
            if first.as_deref().is_some_and(|first| row.window_start.as_str() >= first) {
                *sum += row.revenue;
                self.orders += row.orders;
            }
        }
        let last = rows.into_iter().next().map(|row| row.window_end);
        self.minutes = first.zip(last);
        self
    }
}

/// The rows of the latest window.
fn latest(mut rows: Vec<Trending>) -> Vec<Trending> {
    let last = rows.iter().map(|row| row.window_end.clone()).max();
    rows.retain(|row| Some(&row.window_end) == last.as_ref());
    rows.sort_by_key(|row| row.place);
    rows
}

/// All rows of a view.
fn rows<T: DeserializeOwned>(views: &Views, name: &str) -> Result<Vec<T>> {
    let found = views.get(name)?.scan(&Default::default(), MOST_ROWS)?;
    let parse =
        |row: &rechka_store::Row| serde_json::from_str(row.value()).with_context(|| format!("{name}: {}", row.value()));
    found.rows.iter().map(parse).collect()
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.minutes {
            Some((first, last)) => writeln!(out, "Revenue, {}–{}, {} orders", clock(first), clock(last), self.orders)?,
            None => writeln!(out, "Revenue: no minute is over yet")?,
        }
        let most = self.revenue.values().copied().fold(0.0, f64::max);
        for (category, revenue) in &self.revenue {
            writeln!(out, "  {category:<12}{revenue:>12.2}  {}", bar(revenue / most))?;
        }
        if let Some(first) = self.trending.first() {
            writeln!(out, "\nTrending, the minute before {}", clock(&first.window_end))?;
        }
        for row in &self.trending {
            writeln!(out, "  {}. {:<30}{:>6} views", row.place, row.name, row.views)?;
        }
        if !self.anomalies.is_empty() {
            writeln!(out, "\nAnomalies")?;
        }
        for row in &self.anomalies {
            let Anomaly {
                minute,
                name,
                views,
                mean,
            } = row;
            writeln!(out, "  {}  {name}: {views} views, usually {mean:.0}", clock(minute))?;
        }
        let Self {
            visits,
            conversions,
            customers,
            late,
            dead,
            ..
        } = self;
        writeln!(
            out,
            "\n{visits} visits   {conversions} conversions   {customers} customers with features"
        )?;
        writeln!(out, "{late} late rows   {dead} dead letters")?;
        match &self.error {
            Some(error) => writeln!(out, "{error}"),
            None => Ok(()),
        }
    }
}

/// Hours and minutes and seconds of a timestamp.
fn clock(timestamp: &str) -> &str {
    timestamp.get(11..19).unwrap_or(timestamp)
}

/// A bar for a share of the most, in eighths of a column.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revenue(minute: u32, category: &str, revenue: f64) -> Revenue {
        Revenue {
            window_start: format!("2026-11-20T15:{minute:02}:00"),
            window_end: format!("2026-11-20T15:{:02}:00", minute + 1),
            category: category.to_owned(),
            orders: 2,
            revenue,
        }
    }

    #[test]
    fn the_latest_five_minutes_are_added_up_by_category() {
        let mut rows: Vec<_> = (0..8).map(|minute| revenue(minute, "kitchen", 10.0)).collect();
        rows.push(revenue(7, "books", 25.0));
        rows.push(revenue(0, "garden", 99.0));
        let text = Figures::default().with_revenue(rows).to_string();
        let expected = "Revenue, 15:03:00–15:08:00, 12 orders\n  \
                        books              25.00  ████████████████\n  \
                        garden              0.00  \n  \
                        kitchen            50.00  ████████████████████████████████\n";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn before_the_first_minute_is_over_that_is_said() {
        assert!(
            Figures::default()
                .to_string()
                .starts_with("Revenue: no minute is over yet\n")
        );
    }

    #[test]
    fn only_the_latest_window_is_trending_and_in_order() {
        let row = |window_end: &str, place| Trending {
            window_end: window_end.to_owned(),
            place,
            name: format!("{window_end} {place}"),
            views: 1,
        };
        let names: Vec<_> = latest(vec![row("b", 2), row("a", 1), row("b", 1)])
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(names, ["b 1", "b 2"]);
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(1.0), "█".repeat(BAR));
        assert_eq!(bar(1.0 / 64.0), "▌");
        assert_eq!(bar(f64::NAN), "");
    }
}
