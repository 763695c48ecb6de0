//! Runs every check and test, and counts them.
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    count::Count,
    install,
    kafka::{Cluster, Lifetime},
};

/// Installs, checks, lints, tests; prints `N passed, N failed` as the last line.
pub fn run() -> Result<()> {
    let python = std::path::absolute(install::everything()?)?;
    let mut total = Count::default();
    total += check("format", cargo(&["fmt", "--all", "--check"]))?;
    total += check(
        "lint",
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "rechka-bench/engine,rechka/kafka",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    for count in on_a_cluster(&python)? {
        total += count;
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        std::process::exit(1);
    }
    if total.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// All tests, in Rust and in Python, with a real cluster that lives as long as they do.
fn on_a_cluster(python: &Path) -> Result<[Count; 2]> {
    println!("\n== starting Kafka");
    let stale = Cluster::load()?;
    stale.map_or(Ok(()), |cluster| cluster.down())?;
    let cluster = Cluster::up(Lifetime::UntilExit)?;
    let environment = cluster.environment()?;
    let tests = |name: &str, command: &mut Command| {
        suite(
            name,
            command.env("RECHKA_TEST_REQUIRE_ALL", "1").envs(environment.clone()),
        )
    };
    // In one build.
    let rust = tests(
        "Rust",
        &mut cargo(&["test", "--workspace", "--features", "rechka/kafka", "--no-fail-fast"]),
    )?;
    // These have built the binary; built alone it would have other features, and DataFusion would be compiled once more.
    let binary = std::path::absolute(install::target_directory().join("debug/rechka"))?;
    let mut pytest = Command::new(python);
    pytest
        .args(["-m", "pytest", "--quiet", "tests/python"])
        .env("RECHKA_BIN", binary);
    let python = tests("Python", &mut pytest)?;
    cluster.down()?;
    Ok([rust, python])
}

/// Cargo, as it runs this program.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(arguments);
    command
}

/// A command that passes or fails as one.
fn check(name: &str, mut command: Command) -> Result<Count> {
    println!("\n== {name}");
    let passed = command
        .status()
        .with_context(|| format!("starting {command:?}"))?
        .success();
    println!("{name}: {}", if passed { "ok" } else { "FAILED" });
    Ok(Count {
        passed: passed.into(),
        failed: (!passed).into(),
    })
}

/// A test runner: its output is shown, its tests are counted; a failure that it does not count (a build error) counts as one.
fn suite(name: &str, command: &mut Command) -> Result<Count> {
    println!("\n== {name}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let mut count = Count::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            count += Count::read(&line);
        }
    }
    if !child.wait()?.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}
