//! How a consumer joins a group.
use std::{sync::Arc, time::Duration};

use rdkafka::consumer::Consumer;

use super::{
    client::{self, KafkaConsumer},
    error::failed,
    holders,
    liveness::{self, Liveness},
    shared::{CONSUMER, Shared},
};
use crate::{Membership, Result};

/// A consumer that joins the group, and how soon the group will notice that it has died.
pub(super) fn subscribe(shared: &Shared, membership: &Membership) -> Result<(Arc<KafkaConsumer>, Duration)> {
    let mut settings: Vec<(&str, String)> = Vec::new();
    // Both assignors called range give the same numbers of all topics to one member.
    let session = match shared.protocol() {
        CONSUMER => {
            settings.push(("group.protocol", CONSUMER.to_owned()));
            settings.push(("group.remote.assignor", "range".to_owned()));
            shared.set_liveness(&membership.group)?.session
        }
        _ => {
            let Liveness { session, heartbeat } = shared.classic_liveness()?;
            // The client insists on it.
            let session = session.min(shared.options.max_poll_interval());
            settings.push(("partition.assignment.strategy", "range".to_owned()));
            settings.push(("session.timeout.ms", session.as_millis().to_string()));
            settings.push(("heartbeat.interval.ms", heartbeat.as_millis().to_string()));
            session
        }
    };
    let others = shared
        .options
        .membership()
        .filter(|(name, _)| !liveness::SETTINGS.contains(name));
    settings.extend(others.map(|(name, value)| (name, value.to_owned())));
    if membership.worker.lasts() {
        settings.push(("group.instance.id", holders::mark(&membership.holder())));
    }
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let consumer = Arc::new(client::consumer(&shared.connection, &membership.group, &settings)?);
    let topics: Vec<&str> = membership.topics.iter().map(|topic| &**topic).collect();
    let subscribed = consumer.subscribe(&topics);
    subscribed.map_err(|error| failed(&format!("joining the group {:?}", membership.group), error))?;
    Ok((consumer, session))
}
