//! `rechka serve` as a process of its own.
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The binary under test.
fn rechka() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rechka"))
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    folder: PathBuf,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Server {
    /// Starts a server on a free port with its log in `folder`.
    pub fn start(folder: &Path) -> Self {
        Self::start_at(folder, "127.0.0.1:0")
    }

    fn start_at(folder: &Path, listen: &str) -> Self {
        let mut child = rechka()
            .args(["serve", "--listen", listen, "--log"])
            .arg(format!("embedded:{}", folder.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("rechka starts");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let address = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split("http://")
                    .nth(1)
                    .map(|rest| rest.trim_end_matches('/').to_owned())
            })
            .expect("rechka serve says where it listens");
        Self {
            child,
            folder: folder.to_owned(),
            address,
        }
    }

    /// `kill -9`, and a new process on the same log and port.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        *self = Self::start_at(&self.folder.clone(), &self.address.clone());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// Lines that `rechka consume TOPIC` prints.
    pub fn consume(&self, topic: &str) -> Vec<String> {
        let output = rechka()
            .args(["consume", topic, "--log"])
            .arg(format!("embedded:{}", self.folder.display()))
            .output()
            .expect("rechka consume runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .expect("records are text")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
