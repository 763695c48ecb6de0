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
