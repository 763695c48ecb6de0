//! The command line of Rechka.
fn main() {}
