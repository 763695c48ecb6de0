//! Kafka's own command line tools.
use anyhow::{Result, bail};

use super::{Cluster, broker, jars};
use crate::install;

/// Their names, without `kafka-` and `.sh`, and their classes.
const TOOLS: [(&str, &str); 4] = [
    ("topics", "org.apache.kafka.tools.TopicCommand"),
    (
        "consumer-groups",
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    ),
    ("console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("console-producer", "org.apache.kafka.tools.ConsoleProducer"),
];

/// Runs a tool on the cluster.
pub fn run(cluster: &Cluster, name: &str, arguments: &[&str]) -> Result<()> {
    let Some((_, class)) = TOOLS.iter().find(|(known, _)| *known == name) else {
        let names = TOOLS.map(|(name, _)| name);
        bail!("{name:?} is no tool: say one of {}", names.join(", "));
    };
    let mut java = broker::java(&jars::class_path()?, class);
    java.args(["--bootstrap-server", &cluster.bootstrap()]).args(arguments);
    install::run(&mut java)
}
