//! How soon a group notices that a member has died.
//!
//! With the protocol of KIP-848 the brokers decide that for each group, and a group may have settings of its own, within the
//! brokers' bounds; so a member that joins asks for them. In the classic protocol each member says it, within bounds too.
use std::{collections::HashMap, sync::PoisonError, time::Duration};

use super::{options::KafkaOptions, shared::Shared};
use crate::{LogError, Result};

/// Without a sign of life for so long, a member is taken to be dead.
const SESSION: Duration = Duration::from_secs(3);
/// How often a member gives a sign of life, and hears what is new.
const HEARTBEAT: Duration = Duration::from_millis(500);
const SESSION_TIMEOUT: &str = "session.timeout.ms";
const HEARTBEAT_INTERVAL: &str = "heartbeat.interval.ms";
/// The settings that say it.
pub(super) const SETTINGS: [&str; 2] = [SESSION_TIMEOUT, HEARTBEAT_INTERVAL];
/// What brokers allow in the classic protocol if they are not told otherwise.
const CLASSIC_LEAST: &str = "6000";

/// Both times, as they are wanted or as the brokers allow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Liveness {
    pub session: Duration,
    pub heartbeat: Duration,
}

impl Liveness {
    /// As the location of the cluster says it, or as it suits most.
    fn wanted(options: &KafkaOptions) -> Result<Self> {
        let time = |name: &str, default: Duration| match options.setting(name).map(|value| (value, value.parse())) {
            None => Ok(default),
            Some((_, Ok(milliseconds @ 1..))) => Ok(Duration::from_millis(milliseconds)),
            Some((value, _)) => Err(LogError::Invalid(format!(
                "{name}={value}: write a number of milliseconds"
            ))),
        };
        let session = time(SESSION_TIMEOUT, SESSION)?;
        Ok(Self {
            session,
            heartbeat: time(HEARTBEAT_INTERVAL, HEARTBEAT.min(session / 3))?,
        })
    }

    /// Within the brokers' bounds.
    fn within(self, brokers: &HashMap<String, String>, bounds: &Bounds) -> Self {
        let bound = |name: &str| Some(Duration::from_millis(brokers.get(name)?.parse().ok()?));
        let clamp = |time: Duration, least: Option<Duration>, most: Option<Duration>| {
            time.min(most.unwrap_or(time)).max(least.unwrap_or_default())
        };
        Self {
            session: clamp(self.session, bound(bounds.least_session), bound(bounds.most_session)),
            heartbeat: clamp(self.heartbeat, bounds.least_heartbeat.and_then(bound), None),
        }
    }
}

/// What the brokers call their bounds.
struct Bounds {
    least_session: &'static str,
    most_session: &'static str,
    least_heartbeat: Option<&'static str>,
}

/// With the protocol of KIP-848.
const CONSUMER: Bounds = Bounds {
    least_session: "group.consumer.min.session.timeout.ms",
    most_session: "group.consumer.max.session.timeout.ms",
    least_heartbeat: Some("group.consumer.min.heartbeat.interval.ms"),
};
/// With the classic one.
const CLASSIC: Bounds = Bounds {
    least_session: "group.min.session.timeout.ms",
    most_session: "group.max.session.timeout.ms",
    least_heartbeat: None,
};

impl Shared {
    /// What a member says of itself when it joins in the classic protocol.
    pub(super) fn classic_liveness(&self) -> Result<Liveness> {
        let wanted = Liveness::wanted(&self.options)?;
        let mut brokers = self.broker_settings().clone();
        // Brokers that don't tell it refuse less than they are made with.
        let least = brokers.entry(CLASSIC.least_session.to_owned());
        least.or_insert_with(|| CLASSIC_LEAST.to_owned());
        let allowed = wanted.within(&brokers, &CLASSIC);
        self.complain(wanted, allowed, &CLASSIC);
        Ok(allowed)
    }

    /// Asks the brokers to notice soon when members of this group die; returns how soon they will. A group that has settings of its
    /// own keeps them, unless the location says something else.
    pub(super) fn set_liveness(&self, group: &str) -> Result<Liveness> {
        let mut known = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(group) {
            return Ok(*known);
        }
        let wanted = Liveness::wanted(&self.options)?;
        let allowed = wanted.within(self.broker_settings(), &CONSUMER);
        self.complain(wanted, allowed, &CONSUMER);
        let said = SETTINGS.iter().any(|name| self.options.setting(name).is_some());
        if said || !self.topics.has_group_settings(group) {
            let settings = [
                ("consumer.session.timeout.ms", allowed.session),
                ("consumer.heartbeat.interval.ms", allowed.heartbeat),
            ];
            if let Err(error) = self.topics.set_group_settings(group, &settings) {
                tracing::warn!(
                    group,
                    %error,
                    "the group keeps the brokers' settings: how soon they notice that a worker has died is \
                     group.consumer.session.timeout.ms there"
                );
            }
        }
        known.insert(group.into(), allowed);
        Ok(allowed)
    }

    /// Says once what to change on the brokers.
    fn complain(&self, wanted: Liveness, allowed: Liveness, bounds: &Bounds) {
        if allowed.session > wanted.session {
            self.complained.call_once(|| {
                tracing::warn!(
                    "Kafka's brokers notice only after {} s that a worker has died, and allow no less: set {}={} on them{}",
                    allowed.session.as_secs_f32(),
                    bounds.least_session,
                    wanted.session.as_millis(),
                    match bounds.least_heartbeat {
                        Some(name) => format!(", and {name}={}", wanted.heartbeat.as_millis()),
                        None => String::new(),
                    }
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(settings: &str) -> Liveness {
        let options = format!("kafka://a:1?{settings}").parse().unwrap();
        Liveness::wanted(&options).unwrap()
    }

    fn times(session: u64, heartbeat: u64) -> Liveness {
        Liveness {
            session: Duration::from_millis(session),
            heartbeat: Duration::from_millis(heartbeat),
        }
    }

    #[test]
    fn the_location_says_how_soon_and_how_often() {
        assert_eq!(wanted(""), times(3000, 500));
        assert_eq!(wanted("session.timeout.ms=900"), times(900, 300));
        assert_eq!(
            wanted("session.timeout.ms=20000&heartbeat.interval.ms=1000"),
            times(20_000, 1000)
        );
        let options = "kafka://a:1?session.timeout.ms=soon".parse().unwrap();
        assert!(
            Liveness::wanted(&options)
                .unwrap_err()
                .to_string()
                .contains("milliseconds")
        );
    }

    #[test]
    fn brokers_have_the_last_word() {
        let brokers = |least: &str| {
            let settings = [
                ("group.consumer.min.session.timeout.ms", least),
                ("group.consumer.max.session.timeout.ms", "60000"),
                ("group.consumer.min.heartbeat.interval.ms", "5000"),
            ];
            let own = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
            HashMap::from(own)
        };
        assert_eq!(wanted("").within(&brokers("45000"), &CONSUMER), times(45_000, 5000));
        assert_eq!(
            wanted("session.timeout.ms=90000")
                .within(&brokers("1"), &CONSUMER)
                .session
                .as_secs(),
            60
        );
        assert_eq!(wanted("").within(&HashMap::new(), &CONSUMER), times(3000, 500));
    }
}
