//! The three brokers together.
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    broker::Broker,
    jars,
    security::{Certificates, GUEST, PASSWORD, USER},
};
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
    /// For clients that say who they are by a password or a token.
    pub secure: u16,
    /// For clients that say who they are by a certificate.
    pub tls: u16,
    pub controller: u16,
}

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
                secure: ports.next()?.ok()?,
                tls: ports.next()?.ok()?,
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
        let certificates = Certificates::of(&cluster.folder)?;
        for broker in cluster.brokers() {
            broker.prepare(&class_path, &cluster.ports, &certificates)?;
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
            .map(|own| format!("{} {} {} {}\n", own.clients, own.secure, own.tls, own.controller));
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

    /// What tells tests where the cluster is, and how to use it: names and values of variables.
    pub fn environment(&self) -> Result<Vec<(&'static str, String)>> {
        let certificates = Certificates::of(&self.folder)?;
        Ok(vec![
            ("RECHKA_KAFKA", self.bootstrap()),
            ("RECHKA_KAFKA_SECURE", self.addresses(|ports| ports.secure)),
            ("RECHKA_KAFKA_TLS", self.addresses(|ports| ports.tls)),
            ("RECHKA_KAFKA_CERTIFICATES", certificates.folder().display().to_string()),
            ("RECHKA_KAFKA_USER", USER.to_owned()),
            ("RECHKA_KAFKA_GUEST", GUEST.to_owned()),
            ("RECHKA_KAFKA_PASSWORD", PASSWORD.to_owned()),
            // How tests kill brokers.
            ("RECHKA_XTASK", std::env::current_exe()?.display().to_string()),
        ])
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
    let listeners: Vec<TcpListener> = (0..4 * BROKERS)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    let ports: Vec<u16> = ports.collect::<Result<_>>()?;
    let brokers = ports.chunks_exact(4).map(|ports| Ports {
        clients: ports[0],
        secure: ports[1],
        tls: ports[2],
        controller: ports[3],
    });
    Ok(brokers.collect())
}
