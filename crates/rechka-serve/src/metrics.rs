//! What is counted, as Prometheus text (exposition format 0.0.4).
use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// Upper bounds of the acknowledgement times that are counted apart, in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The gateway's counters.
#[derive(Default)]
pub(crate) struct Metrics {
    open_sessions: AtomicU64,
    stored_bytes: AtomicU64,
    store_failures: AtomicU64,
    failing: AtomicBool,
    acknowledged: [AtomicU64; BOUNDS.len() + 1],
    acknowledged_microseconds: AtomicU64,
    /// WebSocket connections now.
    pub streams: AtomicU64,
    /// Listeners of events now.
    pub listeners: AtomicU64,
    /// Partials and finals sent.
    pub events: AtomicU64,
    refused: [AtomicU64; CODES.len()],
}

/// Codes of refusals that are counted apart.
const CODES: [&str; 16] = [
    "malformed_hello",
    "no_hello",
    "unsupported_format",
    "invalid_session",
    "format_differs",
    "foreign_session",
    "too_many_sessions",
    "message_too_large",
    "malformed_message",
    "gap",
    "rate_exceeded",
    "taken_over",
    "session_ended",
    "idle",
    "storage",
    "stopping",
];

impl Metrics {
    /// Audio became durable; `received` are the moments at which its messages came.
    pub fn stored(&self, bytes: u64, received: &[Instant]) {
        self.stored_bytes.fetch_add(bytes, Relaxed);
        self.failing.store(false, Relaxed);
        for moment in received {
            let elapsed = moment.elapsed();
            let bucket = BOUNDS.partition_point(|bound| *bound < elapsed.as_secs_f64());
            if let Some(count) = self.acknowledged.get(bucket) {
                count.fetch_add(1, Relaxed);
            }
            let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            self.acknowledged_microseconds.fetch_add(microseconds, Relaxed);
        }
    }

    /// Audio could not be stored.
    pub fn store_failed(&self) {
        self.store_failures.fetch_add(1, Relaxed);
        self.failing.store(true, Relaxed);
    }

    /// Whether the last audio could not be stored.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    /// So many sessions are open.
    pub fn open_sessions(&self, sessions: usize) {
        self.open_sessions.store(sessions as u64, Relaxed);
    }

    /// A client was refused.
    pub fn refused(&self, code: &str) {
        if let Some(count) = CODES
            .iter()
            .position(|known| *known == code)
            .and_then(|at| self.refused.get(at))
        {
            count.fetch_add(1, Relaxed);
        }
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(2048);
        let mut write = |name: &str, kind: &str, help: &str, lines: &str| {
            // Writing to a string can't fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        };
        let mut one = |name: &str, kind: &str, help: &str, value: &AtomicU64| {
            write(name, kind, help, &format!("{name} {}\n", value.load(Relaxed)));
        };
        one(
            "rechka_sessions_open",
            "gauge",
            "Sessions that are open.",
            &self.open_sessions,
        );
        one("rechka_streams", "gauge", "WebSocket connections.", &self.streams);
        one("rechka_listeners", "gauge", "Listeners of events.", &self.listeners);
        one(
            "rechka_audio_bytes_total",
            "counter",
            "Audio made durable, in bytes.",
            &self.stored_bytes,
        );
        one(
            "rechka_store_failures_total",
            "counter",
            "Appends that failed.",
            &self.store_failures,
        );
        one(
            "rechka_events_total",
            "counter",
            "Partials and finals sent to clients.",
            &self.events,
        );

        let mut lines = String::new();
        for (code, count) in CODES.iter().zip(&self.refused) {
            let _ = writeln!(
                lines,
                "rechka_refusals_total{{code=\"{code}\"}} {}",
                count.load(Relaxed)
            );
        }
        write(
            "rechka_refusals_total",
            "counter",
            "Clients refused, by reason.",
            &lines,
        );

        let name = "rechka_acknowledgement_seconds";
        let (mut lines, mut sum) = (String::new(), 0);
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.acknowledged) {
            sum += count.load(Relaxed);
            let _ = writeln!(lines, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = self.acknowledged_microseconds.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(lines, "{name}_sum {seconds}\n{name}_count {sum}");
        write(
            name,
            "histogram",
            "From the arrival of audio to its being durable.",
            &lines,
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn buckets_are_cumulative_and_every_line_is_a_sample_or_a_comment() {
        let metrics = Metrics::default();
        let now = Instant::now();
        metrics.stored(
            320,
            &[now, now - Duration::from_millis(30), now - Duration::from_secs(60)],
        );
        metrics.refused("gap");
        let text = metrics.text();
        assert!(
            text.contains("rechka_acknowledgement_seconds_bucket{le=\"0.05\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("rechka_acknowledgement_seconds_bucket{le=\"+Inf\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("rechka_acknowledgement_seconds_count 3\n"), "{text}");
        assert!(text.contains("rechka_refusals_total{code=\"gap\"} 1\n"), "{text}");
        for line in text.lines() {
            let sample = line
                .rsplit_once(' ')
                .is_some_and(|(_, value)| value.parse::<f64>().is_ok());
            assert!(line.starts_with("# ") || sample, "{line}");
        }
    }
}
