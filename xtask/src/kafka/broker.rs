//! One broker: its folder, its settings, its process.
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    cluster::{Lifetime, Ports},
    security::{Certificates, add_users},
};
use crate::install::run;

/// What a broker prints when it serves clients.
const READY: &str = "Kafka Server started";
/// How long a broker may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// After this time a process that was started is to be seen under its name.
const SETTLED: Duration = Duration::from_secs(2);
/// The name of the cluster, as Kafka wants it: 16 bytes in base64.
const CLUSTER_ID: &str = "cmVjaGthLXRlc3RzLTAwMQ";

/// A broker, which also is a controller.
pub struct Broker {
    number: usize,
    folder: PathBuf,
}

impl Broker {
    pub fn new(cluster: &Path, number: usize) -> Self {
        Self {
            number,
            folder: cluster.join(format!("broker-{number}")),
        }
    }

    /// Writes the settings, and makes the broker's storage if there is none.
    pub fn prepare(&self, class_path: &str, all: &[Ports], certificates: &Certificates) -> Result<()> {
        let data = self.folder.join("data");
        fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
        let settings = settings(self.number, all, &data) + &certificates.settings();
        fs::write(self.settings(), settings)?;
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        let mut format = java(class_path, "kafka.tools.StorageTool");
        format
            .args(["format", "--cluster-id", CLUSTER_ID, "--config"])
            .arg(self.settings())
            .args(add_users());
        run(format.stdout(Stdio::null()))
    }

    /// Starts the process, if it does not run; [`Broker::wait`] waits until it serves clients.
    pub fn spawn(&self, class_path: &str, lifetime: Lifetime) -> Result<()> {
        if self.process().is_some() {
            return Ok(());
        }
        let output = File::create(self.output())?;
        let mut command = java(class_path, "kafka.Kafka");
        if matches!(lifetime, Lifetime::UntilExit) {
            // The kernel kills it when this process ends, however that comes about.
            let mut bound = Command::new("setpriv");
            bound.args(["--pdeathsig", "KILL"]).arg(command.get_program());
            bound.args(command.get_args());
            command = bound;
        }
        let child = command
            .arg(self.settings())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("starting java")?;
        fs::write(self.folder.join("pid"), child.id().to_string())?;
        // Reaped when it ends, so that it is seen to be gone.
        thread::spawn(move || child.wait_with_output());
        Ok(())
    }

    /// Waits until it serves clients.
    pub fn wait(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let output = fs::read_to_string(self.output()).unwrap_or_default();
            if output.contains(READY) {
                return Ok(());
            }
            let ended = self.process().is_none() && begun.elapsed() > SETTLED;
            if ended || begun.elapsed() > PATIENCE {
                let last: Vec<&str> = output.lines().rev().take(15).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                bail!("broker {} does not start:\n{}", self.number, last.join("\n"));
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Sends a signal to the process, which must run.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let Some(process) = self.process() else {
            bail!("broker {} does not run", self.number);
        };
        run(Command::new("kill").args(["-s", signal, &process]))?;
        let begun = Instant::now();
        while signal == "KILL" && self.process().is_some() {
            if begun.elapsed() > PATIENCE {
                bail!("broker {} does not end", self.number);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Lets no file of the process grow beyond this many bytes, as a full disk does not.
    pub fn limit_files(&self, bytes: &str) -> Result<()> {
        let Some(process) = self.process() else {
            bail!("broker {} does not run", self.number);
        };
        // Only the soft limit, so that it can be raised again.
        run(Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]))
    }

    /// One line: whether it runs, and where.
    pub fn status(&self, address: &str) -> String {
        let state = match self.process() {
            None => "stopped".to_owned(),
            Some(process) => match fs::read_to_string(format!("/proc/{process}/status")) {
                Ok(status) if status.contains("State:\tT") => format!("paused (process {process})"),
                _ => format!("runs (process {process})"),
            },
        };
        format!("broker {} {state} {address} {}", self.number, self.folder.display())
    }

    /// The process id, if the process is alive and ours: the number may have gone to somebody else since it was written.
    pub fn process(&self) -> Option<String> {
        let process = fs::read_to_string(self.folder.join("pid")).ok()?;
        let command = fs::read(format!("/proc/{process}/cmdline")).ok()?;
        let settings = self.settings();
        let settings = settings.as_os_str().as_encoded_bytes();
        command
            .windows(settings.len())
            .any(|part| part == settings)
            .then_some(process)
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn output(&self) -> PathBuf {
        self.folder.join("output.log")
    }
}

/// A small JVM.
pub(super) fn java(class_path: &str, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.args(["-cp", class_path]);
    command.args([
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    ]);
    command.arg(class);
    command
}

/// As a production cluster is set, but quick to clean up.
fn settings(number: usize, all: &[Ports], data: &Path) -> String {
    let Ports {
        clients,
        secure,
        tls,
        controller,
    } = all[number - 1];
    let voters = (1..)
        .zip(all)
        .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller));
    let voters = voters.collect::<Vec<_>>().join(",");
    let listeners = format!("PLAINTEXT://127.0.0.1:{clients},SECURE://127.0.0.1:{secure},TLS://127.0.0.1:{tls}");
    format!(
        "process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,TLS:SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=6
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=6
share.coordinator.state.topic.replication.factor=3
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
# Patient with each other: the machine may be busy with compiling.
controller.quorum.fetch.timeout.ms=6000
controller.quorum.election.timeout.ms=3000
controller.quorum.request.timeout.ms=6000
initial.broker.registration.timeout.ms=120000
# Quick to notice that somebody is gone.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=5000
replica.lag.time.max.ms=10000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# Quick to clean up.
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.backoff.ms=1000
",
        data = data.display()
    )
}
