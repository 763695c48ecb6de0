use std::{fmt, time::Duration};

/// How time is cut into windows. Lengths are in microseconds, and greater than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum Window {
    /// Windows of `size`, one beginning every `slide` after `offset`. Tumbling: `slide == size`.
    Hop {
        /// Length of a window; a multiple of `slide`.
        size: i64,
        /// From the start of a window to the start of the next.
        slide: i64,
        /// Shifts all windows.
        offset: i64,
    },
    /// Windows that begin every `size` and end after `step`, 2 `step`, … `size`.
    Cumulate {
        /// Greatest length; a multiple of `step`.
        size: i64,
        /// What the next window is longer.
        step: i64,
        /// Shifts all windows.
        offset: i64,
    },
    /// Rows of a group that follow each other in less than `gap`: [first, last + gap). Two rows exactly `gap` apart are two sessions.
    Session {
        /// The silence that ends a session.
        gap: i64,
    },
}

impl Window {
    /// A row falls in at most so many windows.
    pub const MAX_OVERLAP: i64 = 10_000;
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = |micros: i64| Duration::from_micros(micros.unsigned_abs());
        let (name, lengths, offset) = match *self {
            Self::Hop { size, slide, offset } if size == slide => ("tumble", vec![size], offset),
            Self::Hop { size, slide, offset } => ("hop", vec![slide, size], offset),
            Self::Cumulate { size, step, offset } => ("cumulate", vec![step, size], offset),
            Self::Session { gap } => ("session", vec![gap], 0),
        };
        write!(f, "{name}")?;
        for length in lengths {
            write!(f, " {:?}", duration(length))?;
        }
        match offset {
            0 => Ok(()),
            _ => write!(f, " offset {}{:?}", if offset < 0 { "-" } else { "" }, duration(offset)),
        }
    }
}
