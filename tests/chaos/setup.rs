//! How large a run is.
use std::{
    env, fmt,
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// From variables of the environment; the defaults are for the tests.
pub struct Setup {
    /// `RECHKA_CHAOS_SECONDS`: how long events and speech come.
    pub duration: Duration,
    /// `RECHKA_CHAOS_SEED`: gives the order of the disturbances.
    pub seed: u64,
    /// `RECHKA_CHAOS_WORKERS`: processes.
    pub workers: usize,
    /// `RECHKA_CHAOS_SESSIONS`: people who speak.
    pub sessions: usize,
    /// `RECHKA_CHAOS_RATE`: events a second.
    pub rate: u64,
    /// `RECHKA_CHAOS_BINARY`: what the workers run.
    pub binary: PathBuf,
}

impl Setup {
    pub fn of_environment() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            duration: Duration::from_secs(variable("SECONDS", 45)),
            seed: variable("SEED", now),
            workers: variable("WORKERS", 3),
            sessions: variable("SESSIONS", 6),
            rate: variable("RATE", 2_000),
            binary: variable("BINARY", env!("CARGO_BIN_EXE_rechka").into()),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} s, {} workers, {} sessions, {} events/s, seed {}, {}",
            self.duration.as_secs(),
            self.workers,
            self.sessions,
            self.rate,
            self.seed,
            self.binary.display()
        )
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> T {
    let name = format!("RECHKA_CHAOS_{name}");
    match env::var(&name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: no such value")),
        Err(_) => default,
    }
}
