//! Names of workers.
use std::{
    hash::{BuildHasher, RandomState},
    str::FromStr,
    sync::Arc,
};

use crate::LogError;

/// The longest name.
const LONGEST: usize = 100;

/// A process that works on the log, by its name. A name that was given lasts: who comes back under it is the same worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    name: Arc<str>,
    lasts: bool,
}

impl Worker {
    /// One that nobody will know again.
    pub fn unnamed() -> Self {
        Self {
            name: format!("{:016x}", RandomState::new().hash_one(std::process::id())).into(),
            lasts: false,
        }
    }

    /// Its name, given or not.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the name was given.
    pub fn lasts(&self) -> bool {
        self.lasts
    }
}

impl FromStr for Worker {
    type Err = LogError;

    fn from_str(name: &str) -> Result<Self, LogError> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(fits) {
            return Err(LogError::Invalid(format!(
                "{name:?} is no name of a worker: write 1 to {LONGEST} of a-z A-Z 0-9 . _ -"
            )));
        }
        Ok(Self {
            name: name.into(),
            lasts: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_name_lasts_and_others_are_never_the_same() {
        let named: Worker = "rechka-worker-0.a_b".parse().unwrap();
        assert_eq!((named.name(), named.lasts()), ("rechka-worker-0.a_b", true));
        assert!(!Worker::unnamed().lasts());
        assert_ne!(Worker::unnamed(), Worker::unnamed());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in ["", "a b", "a/b", "ж", &"x".repeat(101)] {
            assert!(
                wrong.parse::<Worker>().unwrap_err().to_string().contains("1 to 100"),
                "{wrong}"
            );
        }
    }
}
