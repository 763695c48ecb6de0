//! A text that changes, in its place on the terminal.
use std::io::{self, IsTerminal, Write};

/// Where it is drawn. Not a terminal: nothing is drawn.
pub struct Screen {
    terminal: bool,
    lines: usize,
}

impl Screen {
    /// Standard output.
    pub fn standard_output() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            lines: 0,
        }
    }

    /// Draws the text in place of the one before.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if self.lines > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        self.lines = text.lines().count();
        write!(out, "{text}")?;
        out.flush()
    }
}
