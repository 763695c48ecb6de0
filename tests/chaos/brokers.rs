//! The cluster, and how its brokers are killed.
use std::{env, ffi::OsString, path::Path, process::Command};

/// How many there are.
pub const BROKERS: usize = 3;

/// `RECHKA_KAFKA` says where they are, `RECHKA_XTASK` is the program that can kill them: `cargo xtask test` sets both.
#[derive(Clone)]
pub struct Brokers {
    pub bootstrap: String,
    xtask: OsString,
}

impl Brokers {
    /// None, with a word about it: there is no cluster.
    pub fn of_environment() -> Option<Self> {
        match (env::var("RECHKA_KAFKA"), env::var_os("RECHKA_XTASK")) {
            (Ok(bootstrap), Some(xtask)) => Some(Self { bootstrap, xtask }),
            _ if env::var("RECHKA_TEST_REQUIRE_ALL").as_deref() == Ok("1") => {
                panic!("RECHKA_KAFKA and RECHKA_XTASK are not set")
            }
            _ => {
                println!("skipped: RECHKA_KAFKA and RECHKA_XTASK are not set (cargo xtask chaos sets them)");
                None
            }
        }
    }

    /// By force.
    pub fn kill(&self, number: usize) {
        self.run("kill", number);
    }

    /// Starts one again, and returns when it serves clients.
    pub fn start(&self, number: usize) {
        self.run("start", number);
    }

    fn run(&self, action: &str, number: usize) {
        let mut command = Command::new(&self.xtask);
        command.args(["kafka", action, &number.to_string()]);
        // Where the brokers' folder is looked for.
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        assert!(command.status().unwrap().success(), "{action} broker {number}");
    }
}
