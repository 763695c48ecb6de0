//! A process that runs a pipeline.
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{PATIENCE, rechka};

/// The process, killed when it is dropped.
pub struct Worker {
    child: Child,
    /// `127.0.0.1:PORT`.
    address: mpsc::Receiver<String>,
    known: Mutex<Option<String>>,
    output: Arc<Mutex<String>>,
}

impl Worker {
    pub fn start(file: &str, log: &str, options: &[&str]) -> Self {
        let mut command = rechka(&["run", file, "--log", log, "--listen", "127.0.0.1:0"]);
        command.args(options).env("RECHKA_LOG", "info").env("NO_COLOR", "1");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (found, address) = mpsc::channel();
        let output = Arc::<Mutex<String>>::default();
        let (lines, all) = (BufReader::new(child.stderr.take().unwrap()).lines(), output.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("views and metrics: http://") {
                    let _ = found.send(rest.trim_end_matches("/views").to_owned());
                }
                *all.lock().unwrap() += &(line + "\n");
            }
        });
        Self {
            child,
            address,
            known: Mutex::default(),
            output,
        }
    }

    fn address(&self) -> String {
        let mut known = self.known.lock().unwrap();
        let address = known.get_or_insert_with(|| {
            let said = self.address.recv_timeout(PATIENCE);
            said.unwrap_or_else(|_| panic!("it does not say where it listens:\n{}", self.output()))
        });
        address.clone()
    }

    /// The answer to a request: status line, headers and body.
    pub fn get(&self, path: &str) -> String {
        let address = self.address();
        let mut answer = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        if let Ok(mut stream) = TcpStream::connect(&address) {
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    fn wait_for(&self, what: &str, path: &str, so: impl Fn(&str) -> bool) {
        let since = Instant::now();
        loop {
            let answer = self.get(path);
            if so(&answer) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: {answer}\n{}", self.output());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the group has given it its partitions, and they are restored.
    pub fn await_ready(&self) {
        self.wait_for("ready", "/readyz", |answer| answer.starts_with("HTTP/1.1 200"));
    }

    /// Waits until it keeps copies of others' state, and these are not empty.
    pub fn await_standbys(&self) {
        self.wait_for("standbys", "/metrics", |answer| {
            metric(answer, "rechka_query_standby_bytes") > 0.0
        });
    }

    /// Waits until it has worked off what there is, but for what comes just now, and has copies of at least so many bytes.
    pub fn await_caught_up(&self, standby_bytes: u64) {
        self.wait_for("caught up", "/metrics", |answer| {
            metric(answer, "rechka_query_state_bytes") > 0.0
                && metric(answer, "rechka_query_lag_records") < 100.0
                && metric(answer, "rechka_query_standby_bytes") >= standby_bytes as f64
        });
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = std::process::Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(asked.unwrap().success());
        let status = self.await_end();
        assert!(status.success(), "{status}:\n{}", self.output());
    }

    /// Waits until it has ended.
    pub fn await_end(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that it wrote to standard error.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub fn said(&self, text: &str) -> bool {
        self.output.lock().unwrap().contains(text)
    }
}

/// The sum of a metric over its labels.
fn metric(text: &str, name: &str) -> f64 {
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    let values = text.lines().filter(of_it);
    values
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
