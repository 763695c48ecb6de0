//! Development commands: `cargo xtask help`.
mod count;
mod install;
mod test;

use std::process::Command;

use anyhow::{Result, bail};

const HELP: &str = "Development commands for Rechka.

    cargo xtask test       install what the tests need, then check, lint and test everything
    cargo xtask install    only install what the tests need (Debian and PyPI packages)
    cargo xtask manifests  render deploy/kubernetes/chart into the plain manifests beside it
    cargo xtask help       this text
";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("test") => test::run(),
        Some("install") => install::everything().map(|_| ()),
        Some("manifests") => install::run(Command::new(install::python()?).arg("deploy/kubernetes/render.py")),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("no command {other:?}\n\n{HELP}"),
    }
}
