//! Wall-clock and processor time.
use std::time::{Duration, Instant};

/// Measures from its start on.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
    processor: f64,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::start()
    }
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            processor: processor_seconds(),
        }
    }

    /// Seconds on the wall since the start.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Seconds that all threads of this process together used since the start, to a hundredth (Linux; 0 elsewhere).
    pub fn processor_seconds(&self) -> f64 {
        processor_seconds() - self.processor
    }
}

fn processor_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time: fields 14 and 15 of the file, 12 and 13 after the name.
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// The value below which `share` (0 to 1) of the times lie; sorts them.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let index = (times.len() as f64 * share) as usize;
    times
        .get(index.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
