//! Tasks over the log.
