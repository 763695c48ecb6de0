//! Worker processes: the real binary, killed and stopped.
use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{pipeline::Pipeline, setup::Setup};

/// The workers, from number 1.
pub struct Workers {
    binary: PathBuf,
    file: PathBuf,
    location: String,
    folder: PathBuf,
    /// None: it was killed.
    children: Vec<Option<Child>>,
}

impl Workers {
    pub fn start(setup: &Setup, pipeline: &Pipeline, location: &str, folder: &Path) -> Self {
        let mut workers = Self {
            binary: setup.binary.clone(),
            file: pipeline.whole.clone(),
            location: location.to_owned(),
            folder: folder.to_owned(),
            children: (0..setup.workers).map(|_| None).collect(),
        };
        (1..=setup.workers).for_each(|number| workers.restart(number));
        workers
    }

    /// Starts one that does not run. What it has to say goes to the file of the one before.
    pub fn restart(&mut self, number: usize) {
        let name = self.folder.join(format!("worker-{number}.log"));
        let errors: File = OpenOptions::new().create(true).append(true).open(name).unwrap();
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg(&self.file)
            .args(["--log", &self.location, "--listen", "127.0.0.1:0"]);
        let child = command.stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        self.children[number - 1] = Some(child);
    }

    /// By force.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.children[number - 1].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stands still from here on, as if its machine had no time for it.
    pub fn pause(&self, number: usize) {
        self.signal(number, "STOP");
    }

    /// Goes on, and does not know that it stood still.
    pub fn resume(&self, number: usize) {
        self.signal(number, "CONT");
    }

    fn signal(&self, number: usize, signal: &str) {
        let process = self.children[number - 1].as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &process])
                .status()
                .unwrap()
                .success()
        );
    }

    /// None may end by itself.
    pub fn check(&mut self) {
        for (number, child) in (1..).zip(&mut self.children) {
            if let Some(status) = child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                let log = self.folder.join(format!("worker-{number}.log"));
                panic!("worker {number} ended by itself with {status}: see {}", log.display());
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for mut child in self.children.drain(..).flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
