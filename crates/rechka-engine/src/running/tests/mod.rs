//! Queries over a log, with simple operators of their own.
mod changed;
mod crashes;
mod deleted;
mod exchanges;
mod flow;
mod sizes;
mod sql;
mod standbys;
mod support;
mod tables;
mod totals;
