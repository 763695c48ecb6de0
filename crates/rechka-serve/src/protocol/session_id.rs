//! Names of sessions.
use std::{fmt, sync::Arc};

use super::Refusal;

/// Longest name of a session.
const LONGEST: usize = 64;

/// Name of a session: 1 to 64 of `a-z A-Z 0-9 _ -`. It is the key of the session's records, and part of addresses and file names.
///
/// Who knows it can continue the session, so the gateway makes it unguessable (a random UUID) unless the client brings its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// A new, unguessable name.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// Checks a name that came from outside.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let fits = (1..=LONGEST).contains(&name.len());
        if fits
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            Ok(Self(name.into()))
        } else {
            Err(Refusal::SessionName)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_path_or_a_header_are_refused() {
        for bad in ["", "a/b", "..", "a.srt", "a b", "a\r\n", "é", &"x".repeat(65)] {
            assert_eq!(SessionId::parse(bad), Err(Refusal::SessionName), "{bad:?}");
        }
        assert_eq!(SessionId::parse("Desk_7-b").unwrap().as_str(), "Desk_7-b");
    }

    #[test]
    fn our_own_names_are_valid_and_differ() {
        let (a, b) = (SessionId::random(), SessionId::random());
        assert_ne!(a, b);
        assert_eq!(SessionId::parse(a.as_str()).unwrap(), a);
    }
}
