//! Queries over a log, with simple operators of their own.
mod crashes;
mod flow;
mod sql;
mod support;
mod tables;
mod totals;
