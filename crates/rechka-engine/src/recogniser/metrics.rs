//! What is counted while recognising.
use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Upper bounds of the latencies that are counted apart, in seconds.
const BOUNDS: [f64; 12] = [0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Samples per second.
const RATE: f64 = 16_000.0;

/// Name, kind, help and value of what is one number.
type Family = (&'static str, &'static str, &'static str, fn(&Metrics) -> f64);

const FAMILIES: [Family; 14] = [
    ("sessions", "gauge", "Sessions in memory.", |own| own.sessions() as f64),
    (
        "sessions_waiting",
        "gauge",
        "Sessions that wait in the log for room in memory.",
        |own| own.waiting() as f64,
    ),
    (
        "lag_seconds",
        "gauge",
        "How far recognition is behind the audio in the log.",
        Metrics::lag_seconds,
    ),
    ("held_samples", "gauge", "Audio samples in memory.", |own| {
        own.held_samples() as f64
    }),
    (
        "real_time_factor",
        "gauge",
        "Seconds of work per second of audio.",
        Metrics::real_time_factor,
    ),
    (
        "audio_seconds_total",
        "counter",
        "Audio that came in.",
        Metrics::audio_seconds,
    ),
    (
        "decoded_seconds_total",
        "counter",
        "Audio given to the model, each time it was.",
        Metrics::decoded_seconds,
    ),
    (
        "decode_seconds_total",
        "counter",
        "Time that the model worked.",
        Metrics::decode_seconds,
    ),
    (
        "decode_batches_total",
        "counter",
        "Batches given to the model.",
        |own| own.batches() as f64,
    ),
    (
        "decode_requests_total",
        "counter",
        "Windows given to the model.",
        |own| own.requests() as f64,
    ),
    ("finals_total", "counter", "Final segments of speech.", |own| {
        own.finals() as f64
    }),
    (
        "failures_total",
        "counter",
        "Windows that could not be decoded.",
        |own| own.failures.load(Relaxed) as f64,
    ),
    (
        "dead_letters_total",
        "counter",
        "Records that could not be processed.",
        |own| own.dead.load(Relaxed) as f64,
    ),
    (
        "damaged_records_total",
        "counter",
        "Records that were damaged in the log, and are lost.",
        |own| own.damaged.load(Relaxed) as f64,
    ),
];

/// Counters and gauges of one recogniser; read them at any time.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sessions in memory.
    pub(super) sessions: AtomicU64,
    /// Sessions that wait in the log for room in memory.
    pub(super) waiting: AtomicU64,
    /// Samples at 16 kHz that came in, silence included.
    pub(super) samples: AtomicU64,
    /// Samples that were decoded, each as often as it was.
    pub(super) decoded_samples: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) decode_microseconds: AtomicU64,
    pub(super) finals: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) dead: AtomicU64,
    /// Records that were damaged in the log.
    pub(super) damaged: AtomicU64,
    pub(super) lag_milliseconds: AtomicU64,
    pub(super) held_samples: AtomicU64,
    latencies: [AtomicU64; BOUNDS.len() + 1],
    latency_microseconds: AtomicU64,
}

impl Metrics {
    /// Sessions in memory.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Relaxed)
    }

    /// Sessions whose audio waits in the log because [`max_sessions`](super::Speech::max_sessions) are in memory.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Seconds of audio that came in.
    pub fn audio_seconds(&self) -> f64 {
        self.samples.load(Relaxed) as f64 / RATE
    }

    /// Batches given to the model.
    pub fn batches(&self) -> u64 {
        self.batches.load(Relaxed)
    }

    /// Windows given to the model.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Seconds that the model worked.
    pub fn decode_seconds(&self) -> f64 {
        self.decode_microseconds.load(Relaxed) as f64 / 1e6
    }

    /// Seconds that the model worked per second of audio that came in: below 1 the recogniser keeps up.
    pub fn real_time_factor(&self) -> f64 {
        let audio = self.audio_seconds();
        if audio > 0.0 {
            self.decode_seconds() / audio
        } else {
            0.0
        }
    }

    /// Final segments of speech.
    pub fn finals(&self) -> u64 {
        self.finals.load(Relaxed)
    }

    /// How many seconds the recogniser is behind the audio in the log.
    pub fn lag_seconds(&self) -> f64 {
        self.lag_milliseconds.load(Relaxed) as f64 / 1e3
    }

    /// Samples held in memory, over all sessions.
    pub fn held_samples(&self) -> u64 {
        self.held_samples.load(Relaxed)
    }

    /// All of it as Prometheus text (exposition format 0.0.4), for each query that recognises: its name, what it counts, and whether it
    /// can work.
    pub fn prometheus(recognitions: &[(Arc<str>, Arc<Metrics>, bool)]) -> String {
        let mut text = String::new();
        if recognitions.is_empty() {
            return text;
        }
        for (name, kind, help, value) in FAMILIES {
            let name = format!("rechka_recogniser_{name}");
            // Writing to a String can't fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (query, metrics, _) in recognitions {
                let _ = writeln!(text, "{name}{{query=\"{query}\"}} {}", value(metrics));
            }
        }
        let name = "rechka_recogniser_up";
        let _ = writeln!(
            text,
            "# HELP {name} 0 while the recogniser can't work.\n# TYPE {name} gauge"
        );
        for (query, _, up) in recognitions {
            let _ = writeln!(text, "{name}{{query=\"{query}\"}} {}", u8::from(*up));
        }
        let name = "rechka_recogniser_final_latency_seconds";
        let _ = writeln!(
            text,
            "# HELP {name} From the record with a segment's last audio to the durable segment.\n# TYPE {name} histogram"
        );
        for (query, metrics, _) in recognitions {
            metrics.histogram(&mut text, name, query);
        }
        text
    }

    fn histogram(&self, text: &mut String, name: &str, query: &str) {
        let mut count = 0;
        for (index, bucket) in self.latencies.iter().enumerate() {
            count += bucket.load(Relaxed);
            let bound = BOUNDS.get(index).map_or("+Inf".to_owned(), f64::to_string);
            let _ = writeln!(text, "{name}_bucket{{query=\"{query}\",le=\"{bound}\"}} {count}");
        }
        let sum = self.latency_microseconds.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(
            text,
            "{name}_sum{{query=\"{query}\"}} {sum}\n{name}_count{{query=\"{query}\"}} {count}"
        );
    }

    fn decoded_seconds(&self) -> f64 {
        self.decoded_samples.load(Relaxed) as f64 / RATE
    }

    pub(super) fn latency(&self, latency: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < latency.as_secs_f64());
        self.latencies[bucket].fetch_add(1, Relaxed);
        self.latency_microseconds
            .fetch_add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}
