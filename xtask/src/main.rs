//! Development commands: `cargo xtask help`.
mod chaos;
mod count;
mod install;
mod kafka;
mod test;

use std::process::Command;

use anyhow::{Result, bail};

const HELP: &str = "Development commands for Rechka.

    cargo xtask test       install what the tests need, then check, lint and test everything
    cargo xtask install    only install what the tests need (Debian and PyPI packages)
    cargo xtask manifests  render deploy/kubernetes/chart into the plain manifests beside it
    cargo xtask kafka …    a cluster of three brokers on this machine: up, down, status, environment, kill N, start N, …;
                           Kafka's own tools: tool consumer-groups --describe --all-groups
    cargo xtask chaos …    kill and stop workers and brokers under load, for ten minutes: is everything exact? (--minutes, --seed, …)
    cargo xtask help       this text
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("test") => test::run(),
        Some("install") => install::everything().map(|_| ()),
        Some("manifests") => install::run(Command::new(install::python()?).arg("deploy/kubernetes/render.py")),
        Some("kafka") => kafka::run(&arguments[1..]),
        Some("chaos") => chaos::run(&arguments[1..]),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("no command {other:?}\n\n{HELP}"),
    }
}
