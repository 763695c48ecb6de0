//! The three brokers together.
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{broker::Broker, jars};
use crate::install;

/// How many there are.
pub const BROKERS: usize = 3;

/// How long brokers live.
#[derive(Clone, Copy)]
pub enum Lifetime {
    /// Until `cargo xtask kafka down`.
    UntilDown,
    /// Not longer than this process.
    UntilExit,
}

/// Where a broker listens, on loopback.
pub struct Ports {
    pub clients: u16,
    /// For clients that say who they are: [`USER`] with [`PASSWORD`], SASL PLAIN.
    pub sasl: u16,
    pub controller: u16,
}

/// Who may use the port for clients that say who they are.
pub const USER: &str = "rechka";
/// The password of [`USER`]: one for tests.
pub const PASSWORD: &str = "a-password-for-tests";

/// A cluster whose ports are chosen, so that every checkout can have its own.
pub struct Cluster {
    folder: PathBuf,
    ports: Vec<Ports>,
}

impl Cluster {
    /// The cluster of this checkout, if there is one.
    pub fn load() -> Result<Option<Self>> {
        let folder = std::path::absolute(install::target_directory().join("kafka"))?;
        let Ok(text) = fs::read_to_string(folder.join("ports")) else {
            return Ok(None);
        };
        let ports = text.lines().filter_map(|line| {
            let mut ports = line.split(' ').map(str::parse);
            Some(Ports {
                clients: ports.next()?.ok()?,
                sasl: ports.next()?.ok()?,
                controller: ports.next()?.ok()?,
            })
        });
        let ports: Vec<Ports> = ports.collect();
        if ports.len() != BROKERS {
            bail!("{} is damaged: delete the folder", folder.join("ports").display());
        }
        Ok(Some(Self { folder, ports }))
    }

    /// Installs what is missing and starts those brokers that do not run; returns when all serve clients.
    pub fn up(lifetime: Lifetime) -> Result<Self> {
        install::for_kafka()?;
        let class_path = jars::class_path()?;
        let cluster = match Self::load()? {
            Some(cluster) => cluster,
            None => Self::create()?,
        };
        for broker in cluster.brokers() {
            broker.prepare(&class_path, &cluster.ports)?;
        }
        for broker in cluster.brokers() {
            broker.spawn(&class_path, lifetime)?;
        }
        for broker in cluster.brokers() {
            broker.wait()?;
        }
        Ok(cluster)
    }

    fn create() -> Result<Self> {
        let folder = std::path::absolute(install::target_directory().join("kafka"))?;
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let ports = free_ports()?;
        let lines = ports
            .iter()
            .map(|own| format!("{} {} {}\n", own.clients, own.sasl, own.controller));
        fs::write(folder.join("ports"), lines.collect::<String>())?;
        Ok(Self { folder, ports })
    }

    /// Starts one broker again, and returns when it serves clients.
    pub fn start(&self, number: usize) -> Result<()> {
        let broker = self.broker(number);
        broker.spawn(&jars::class_path()?, Lifetime::UntilDown)?;
        broker.wait()
    }

    /// Kills the brokers and deletes what they stored.
    pub fn down(&self) -> Result<()> {
        for broker in self.brokers() {
            if broker.process().is_some() {
                broker.signal("KILL")?;
            }
        }
        remove(&self.folder)
    }

    /// Says which brokers run.
    pub fn status(&self) {
        for (number, ports) in (1..).zip(&self.ports) {
            let address = format!("127.0.0.1:{}", ports.clients);
            println!("{}", self.broker(number).status(&address));
        }
    }

    /// Where clients begin: `host:port,host:port,host:port`.
    pub fn bootstrap(&self) -> String {
        self.addresses(|ports| ports.clients)
    }

    /// Where clients begin that say who they are.
    pub fn sasl_bootstrap(&self) -> String {
        self.addresses(|ports| ports.sasl)
    }

    fn addresses(&self, port: impl Fn(&Ports) -> u16) -> String {
        let addresses = self.ports.iter().map(|ports| format!("127.0.0.1:{}", port(ports)));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The broker of this number, from 1.
    pub fn broker(&self, number: usize) -> Broker {
        Broker::new(&self.folder, number)
    }

    fn brokers(&self) -> impl Iterator<Item = Broker> {
        (1..=BROKERS).map(|number| self.broker(number))
    }
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("deleting {}", folder.display()))
}

/// Ports that nobody listens on now. All are held until all are chosen, so that they differ.
fn free_ports() -> Result<Vec<Ports>> {
    let listeners: Vec<TcpListener> = (0..3 * BROKERS)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    let ports: Vec<u16> = ports.collect::<Result<_>>()?;
    let brokers = ports.chunks_exact(3).map(|ports| Ports {
        clients: ports[0],
        sasl: ports[1],
        controller: ports[2],
    });
    Ok(brokers.collect())
}
