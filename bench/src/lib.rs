//! What the benchmarks share: deterministic data, and measuring.
mod events;
mod measure;
pub mod nexmark;

pub use events::{Random, dense};
pub use measure::{Stopwatch, percentile};
