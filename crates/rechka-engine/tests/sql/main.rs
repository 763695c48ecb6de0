//! SQL from text to rows, as a stream and at once.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]
mod case;
mod cases;
mod cut;
mod grammar;
mod master;
mod nexmark;
mod random;
mod world;
