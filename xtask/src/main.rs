//! Development commands: `cargo xtask help`.
mod count;
mod install;
mod test;

use anyhow::{Result, bail};

const HELP: &str = "Development commands for Rechka.

    cargo xtask test       install what the tests need, then check, lint and test everything
    cargo xtask install    only install what the tests need (Debian and PyPI packages)
    cargo xtask help       this text
";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("test") => test::run(),
        Some("install") => install::everything().map(|_| ()),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("no command {other:?}\n\n{HELP}"),
    }
}
