//! A real Kafka cluster of three brokers on this machine's loopback: `cargo xtask kafka …`.
mod broker;
mod cluster;
mod jars;
mod security;
mod tools;

use anyhow::{Result, bail};

pub use cluster::{Cluster, Lifetime};

/// The subcommands, for the help.
pub const USAGE: &str =
    "cargo xtask kafka up|down|status|environment|kill N|pause N|resume N|start N|limit N BYTES|tool NAME …";

/// Runs a subcommand.
pub fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| match word.parse() {
        Ok(number @ 1..=cluster::BROKERS) => Ok(number),
        _ => bail!("{word:?} is no broker: say 1 to {}", cluster::BROKERS),
    };
    match words[..] {
        ["up"] => {
            let cluster = Cluster::up(Lifetime::UntilDown)?;
            println!("{}", cluster.bootstrap());
            Ok(())
        }
        ["down"] => Cluster::load()?.map_or(Ok(()), |cluster| cluster.down()),
        ["status"] => {
            match Cluster::load()? {
                Some(cluster) => cluster.status(),
                None => println!("down"),
            }
            Ok(())
        }
        // For a shell: eval "$(cargo xtask kafka environment)".
        ["environment"] => {
            for (name, value) in running()?.environment()? {
                println!("export {name}='{value}'");
            }
            Ok(())
        }
        ["tool", name, ..] => tools::run(&running()?, name, &words[2..]),
        ["limit", broker, bytes] => running()?.broker(number(broker)?).limit_files(bytes),
        [action @ ("kill" | "pause" | "resume" | "start"), broker] => {
            let number = number(broker)?;
            let cluster = running()?;
            match action {
                "kill" => cluster.broker(number).signal("KILL"),
                "pause" => cluster.broker(number).signal("STOP"),
                "resume" => cluster.broker(number).signal("CONT"),
                _ => cluster.start(number),
            }
        }
        _ => bail!("say {USAGE}"),
    }
}

fn running() -> Result<Cluster> {
    let Some(cluster) = Cluster::load()? else {
        bail!("the cluster is down: start it with `cargo xtask kafka up`");
    };
    Ok(cluster)
}
