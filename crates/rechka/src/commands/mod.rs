//! One file a command.
pub mod consume;
pub mod produce;
pub mod run;
pub mod serve;
pub mod sql;
pub mod status;
pub mod topics;
pub mod transcribe;
