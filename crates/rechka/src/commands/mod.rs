//! One file a command.
pub mod consume;
pub mod produce;
pub mod serve;
pub mod topics;
pub mod transcribe;
