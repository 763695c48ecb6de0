//! Captions in the terminal: partials grey, finals bold.
use std::io::{IsTerminal, Write};

use rechka_types::{Kind, Partial, Transcript};

const BOLD: &str = "\x1b[1m";
const GREY: &str = "\x1b[90m";
const PLAIN: &str = "\x1b[0m";
/// Back to the line's beginning, and empty it.
const REDRAW: &str = "\r\x1b[2K";

/// Where captions are shown. Not a terminal: finals only, without colours.
pub struct Screen<W: Write> {
    out: W,
    terminal: bool,
}

impl Screen<std::io::Stdout> {
    /// Standard output.
    pub fn standard_output() -> Self {
        let out = std::io::stdout();
        let terminal = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out, terminal }
    }
}

impl<W: Write> Screen<W> {
    /// Shows a caption that may still change, in place of the one before.
    pub fn partial(&mut self, partial: &Partial) -> std::io::Result<()> {
        if self.terminal {
            let at = clock(partial.start);
            write!(
                self.out,
                "{REDRAW}{GREY}{at}{PLAIN}  {BOLD}{}{PLAIN}",
                partial.committed
            )?;
            let space = if partial.committed.is_empty() || partial.tentative.is_empty() {
                ""
            } else {
                " "
            };
            write!(self.out, "{space}{GREY}{}{PLAIN}", partial.tentative)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Shows a final segment, for good.
    pub fn transcript(&mut self, transcript: &Transcript) -> std::io::Result<()> {
        let at = clock(transcript.start);
        match (transcript.kind, self.terminal) {
            (Kind::Speech, _) if transcript.text.is_empty() => Ok(()),
            (Kind::Speech, true) => writeln!(self.out, "{REDRAW}{GREY}{at}{PLAIN}  {BOLD}{}{PLAIN}", transcript.text),
            (Kind::Speech, false) => writeln!(self.out, "{at}  {}", transcript.text),
            (Kind::Failed, terminal) => {
                let redraw = if terminal { REDRAW } else { "" };
                let reason = transcript.reason.as_deref().unwrap_or("not recognised");
                writeln!(self.out, "{redraw}{at}  [{reason}]")
            }
            (Kind::Silence | Kind::End, _) => Ok(()),
        }
    }
}

/// Minutes and seconds.
fn clock(seconds: f64) -> String {
    let tenths = (seconds.max(0.0) * 10.0) as u64;
    format!("{:02}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: bool) -> String {
        let mut screen = Screen {
            out: Vec::new(),
            terminal,
        };
        let partial = Partial {
            session: "s".into(),
            segment: 0,
            start: 61.25,
            end: 63.0,
            committed: "seven".into(),
            tentative: "three".into(),
        };
        screen.partial(&partial).unwrap();
        let transcript = Transcript {
            session: "s".into(),
            segment: 0,
            revision: 0,
            kind: Kind::Speech,
            start: 61.25,
            end: 63.0,
            text: "seven three oh".into(),
            language: None,
            words: vec![],
            reason: None,
            provenance: None,
        };
        screen.transcript(&transcript).unwrap();
        String::from_utf8(screen.out).unwrap()
    }

    #[test]
    fn a_terminal_sees_partials_grey_and_finals_bold_in_one_line() {
        let text = shown(true);
        assert!(text.contains("\x1b[1mseven\x1b[0m \x1b[90mthree\x1b[0m"));
        assert!(text.ends_with("\x1b[1mseven three oh\x1b[0m\n"));
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn a_file_sees_finals_only() {
        assert_eq!(shown(false), "01:01.2  seven three oh\n");
    }
}
