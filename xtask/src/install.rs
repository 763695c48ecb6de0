//! Installs what the tests need beside a Rust toolchain and a C compiler.
use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Debian packages: a program each one brings, and its name.
const DEBIAN: &[(&str, &str)] = &[("chromium", "chromium"), ("chromedriver", "chromium-driver")];
/// The same for brokers of Kafka, to build its client, and for a client that is not ours.
const DEBIAN_KAFKA: &[(&str, &str)] = &[
    ("java", "openjdk-17-jre-headless"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("make", "make"),
    ("perl", "perl"),
    ("setpriv", "util-linux"),
    ("kcat", "kcat"),
];

/// Installs everything; returns the Python of the tests' virtual environment.
pub fn everything() -> Result<PathBuf> {
    let needs_venv = !succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
    debian(DEBIAN, needs_venv.then_some("python3-venv"))?;
    for_kafka()?;
    python()
}

/// Installs what brokers of Kafka need.
pub fn for_kafka() -> Result<()> {
    debian(DEBIAN_KAFKA, None)
}

/// Installs the packages whose programs are missing, and `also`.
fn debian(wanted: &[(&str, &'static str)], also: Option<&'static str>) -> Result<()> {
    let missing = wanted.iter().filter(|(program, _)| which(program).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).chain(also).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if which("apt-get").is_none() {
        bail!(
            "the tests need these Debian packages, or their like: {}. Install them and try again",
            packages.join(" ")
        );
    }
    println!("installing {}", packages.join(" "));
    let as_root = |arguments: &[&str]| {
        let root = succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]));
        let mut command = if root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !root {
            command.arg("apt-get");
        }
        run(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    as_root(&["update", "-qq"])?;
    as_root(&[&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat())
}

/// Installs what the tests in Python need; returns the Python of their virtual environment.
pub fn python() -> Result<PathBuf> {
    let requirements = Path::new("tests/python/requirements.txt");
    let venv = target_directory().join("python");
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.txt");
    let wanted = std::fs::read(requirements).with_context(|| format!("reading {}", requirements.display()))?;
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("installing {} into {}", requirements.display(), venv.display());
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "-r"])
        .arg(requirements))?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

/// Where build products go.
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
