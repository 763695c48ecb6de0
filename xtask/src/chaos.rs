//! `cargo xtask chaos`: the test in `tests/chaos`, as long and as large as one likes, on a cluster of its own.
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{
    install,
    kafka::{Cluster, Lifetime},
    test::cargo,
};

/// How it is used.
const USAGE: &str =
    "cargo xtask chaos [--minutes M] [--seed N] [--workers N] [--sessions N] [--rate EVENTS/S] [--binary rechka]";

/// What the test is told: the name of the option, of the variable, and what holds without it.
const OPTIONS: [(&str, &str, Option<&str>); 6] = [
    ("--minutes", "SECONDS", Some("10")),
    ("--seed", "SEED", None),
    ("--workers", "WORKERS", Some("3")),
    ("--sessions", "SESSIONS", Some("20")),
    ("--rate", "RATE", Some("20000")),
    // Without it: what the tests build, which is several times slower than a release.
    ("--binary", "BINARY", None),
];

/// Starts brokers, and the test over them. Fails if anything was lost, came twice, or differs.
pub fn run(arguments: &[String]) -> Result<()> {
    let variables = variables(arguments)?;
    let stale = Cluster::load()?;
    stale.map_or(Ok(()), |cluster| cluster.down())?;
    let cluster = Cluster::up(Lifetime::UntilExit)?;
    // The selection of the tests, so that nothing is compiled twice.
    let mut test = cargo(&[
        "test",
        "--workspace",
        "--features",
        "rechka/kafka",
        "--test",
        "chaos",
        "--",
    ]);
    test.args([
        "--ignored",
        "--nocapture",
        "--exact",
        "transcripts_and_counts_are_exact_while_workers_and_brokers_die",
    ])
    .env("RECHKA_KAFKA", cluster.bootstrap())
    .env(
        "RECHKA_XTASK",
        std::env::current_exe().context("looking for this program")?,
    )
    .envs(variables);
    let result = install::run(&mut test);
    cluster.down()?;
    result
}

/// The variables of the environment that say it to the test.
fn variables(arguments: &[String]) -> Result<Vec<(String, String)>> {
    let mut values = OPTIONS.map(|(_, _, default)| default.map(str::to_owned));
    for pair in arguments.chunks(2) {
        let [option, value] = pair else {
            bail!("{} needs a value: {USAGE}", pair.concat());
        };
        let Some(place) = OPTIONS.iter().position(|(name, ..)| name == option) else {
            bail!("no option {option:?}: {USAGE}");
        };
        values[place] = Some(value.clone());
    }
    let pairs = OPTIONS.iter().zip(values);
    let given = pairs.filter_map(|((option, variable, _), value)| Some((*option, *variable, value?)));
    given
        .map(|(option, variable, value)| Ok((format!("RECHKA_CHAOS_{variable}"), translate(option, &value)?)))
        .collect()
}

/// The test runs in another folder, and counts in seconds.
fn translate(option: &str, value: &str) -> Result<String> {
    if option == "--binary" {
        let path = std::path::absolute(Path::new(value))?;
        if !path.is_file() {
            bail!(
                "there is no {}: build it by cargo build --release --features kafka",
                path.display()
            );
        }
        return Ok(path.display().to_string());
    }
    let number: f64 = value
        .parse()
        .ok()
        .filter(|number| *number >= 0.0)
        .with_context(|| format!("{option} {value:?}: write a number"))?;
    Ok(match option {
        "--minutes" => (number * 60.0).round().to_string(),
        _ => value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables_of(text: &str) -> Result<Vec<(String, String)>> {
        variables(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_not_said_is_the_long_run() {
        let variables = variables_of("--seed 5").unwrap();
        let value = |name: &str| {
            variables
                .iter()
                .find(|(variable, _)| variable == name)
                .map(|(_, value)| &**value)
        };
        assert_eq!(value("RECHKA_CHAOS_SECONDS"), Some("600"));
        assert_eq!(value("RECHKA_CHAOS_SEED"), Some("5"));
        assert_eq!(value("RECHKA_CHAOS_BINARY"), None);
    }

    #[test]
    fn a_wrong_option_is_answered_with_the_right_ones() {
        for wrong in ["--minute 5", "--minutes", "--rate many", "--binary /nowhere"] {
            let error = variables_of(wrong).unwrap_err().to_string();
            assert!(
                error.contains("cargo xtask") || error.contains("write") || error.contains("build"),
                "{error}"
            );
        }
    }
}
