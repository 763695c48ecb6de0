//! What the benchmarks share: deterministic data, and measuring.
mod events;
mod measure;

pub use events::{Random, bids, dense};
pub use measure::{Stopwatch, percentile};
