//! The binary under test, and what it leaves.
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::records::text;

/// The binary under test; what it prints.
pub fn rechka(temporary: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rechka"))
        .args(arguments)
        .env("TMPDIR", temporary)
        .output()
        .expect("rechka starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("rechka prints text")
}

/// The demo's folder, after the demo.
pub struct Shop {
    pub temporary: tempfile::TempDir,
    pub folder: PathBuf,
    pub report: String,
}

impl Shop {
    pub fn open(rate: u32) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let report = rechka(
            temporary.path(),
            &["demo", "shop", "--once", "--rate", &rate.to_string()],
        );
        Self::left_in(temporary, report)
    }

    pub fn left_in(temporary: tempfile::TempDir, report: String) -> Self {
        let mut entries = std::fs::read_dir(temporary.path()).unwrap();
        let folder = entries.next().expect("the demo leaves a folder").unwrap().path();
        Self {
            temporary,
            folder,
            report,
        }
    }

    pub fn ask(&self, arguments: &[&str]) -> String {
        let log = format!("embedded:{}/log", self.folder.display());
        rechka(self.temporary.path(), &[arguments, &["--log", &log]].concat())
    }

    /// Values of a topic's records.
    pub fn consume(&self, topic: &str) -> Vec<String> {
        self.ask(&["consume", topic]).lines().map(str::to_owned).collect()
    }

    /// Copies a topic into another log.
    pub fn copy(&self, topic: &str, log: &str) {
        let records = self.ask(&["consume", topic, "--format", "json"]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_rechka"))
            .args([
                "produce",
                topic,
                "--partitions",
                "2",
                "--key-separator",
                "|",
                "--log",
                log,
            ])
            .stdin(Stdio::piped())
            .spawn()
            .expect("rechka starts");
        let mut input = child.stdin.take().expect("standard input is piped");
        for record in records.lines() {
            let record: Value = serde_json::from_str(record).unwrap();
            writeln!(input, "{}|{}", text(&record, "key"), text(&record, "value")).unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    pub fn query(&self, sql: &str) -> Vec<Value> {
        let rows = self.ask(&["sql", "--batch", "--format", "json", "-e", sql]);
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// Rows that came too late for a query.
    pub fn late(&self, query: &str) -> Vec<Value> {
        let rows = self.consume(&format!("{query}.late"));
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }
}

/// A process, killed when dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The demo that goes on.
pub struct OpenShop {
    process: Process,
    /// Kept open: the demo goes on writing.
    _output: BufReader<ChildStdout>,
    pub address: String,
    temporary: tempfile::TempDir,
}

impl OpenShop {
    pub fn open() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rechka"))
            .args(["demo", "shop", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Process(child.expect("rechka starts"));
        let mut output = BufReader::new(process.0.stdout.take().expect("standard output is piped"));
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let address = first.split_whitespace().find(|word| word.starts_with("http://"));
        let address = address.expect("it says where it listens").to_owned();
        Self {
            process,
            _output: output,
            address,
            temporary,
        }
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn close(mut self) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.process.0.wait().unwrap().success(), "it ends without an error");
    }

    /// `kill -9`.
    pub fn kill(self) -> Shop {
        drop(self.process);
        Shop::left_in(self.temporary, String::new())
    }
}
