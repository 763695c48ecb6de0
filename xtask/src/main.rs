//! Development commands for Rechka.
fn main() {}
