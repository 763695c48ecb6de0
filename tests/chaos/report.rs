//! What the disturbances did to the output.
use std::time::Duration;

use crate::{
    disturbances::{Disturbance, KINDS},
    silence::Silences,
};

/// A line for each kind, and one for all.
pub fn print(disturbances: &[Disturbance], silences: &Silences) {
    println!("\nseconds until the last partition's output goes on after a disturbance (they overlap)");
    println!("{:16} {:>6} {:>8} {:>8} {:>8}", "", "number", "p50", "p95", "longest");
    let line = |name: &str, mut times: Vec<Duration>| {
        times.sort_unstable();
        let [half, most, longest] = [0.5, 0.95, 1.0].map(|rank| percentile(&times, rank).as_secs_f64());
        println!("{name:16} {:6} {half:8.1} {most:8.1} {longest:8.1}", times.len());
    };
    for kind in KINDS {
        let own = disturbances.iter().filter(|disturbance| disturbance.kind == kind);
        line(
            &kind.to_string(),
            own.map(|disturbance| silences.after(disturbance)).collect(),
        );
    }
    line(
        "all",
        disturbances
            .iter()
            .map(|disturbance| silences.after(disturbance))
            .collect(),
    );
}

/// The nearest rank of sorted times.
fn percentile(sorted: &[Duration], rank: f64) -> Duration {
    let place = (sorted.len() as f64 * rank).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}
