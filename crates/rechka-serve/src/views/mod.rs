//! What is told about views (`rechka-store`), to those who listen.
//!
//! ```text
//! {"event":"snapshot","rows":[…],"more":true}                         a large snapshot comes in several messages
//! {"event":"snapshot","rows":[…],"more":false,"position":"6a….0"}
//! {"event":"delete","keys":[{"user_id":7}],"more":true}               what an epoch deletes, and then
//! {"event":"update","rows":[…],"more":false,"position":"6a….1"}       what it writes
//! ```
//!
//! What belongs together ends with `"more":false`: only then does a listener know a whole snapshot, or a whole epoch. Who was cut off says the
//! last position and hears what came since, or a new snapshot. As server-sent events, `event` is the event's type and the position its id.
mod listener;
mod message;
mod metrics;
mod socket;

pub(crate) use listener::Listener;
pub(crate) use metrics::text as metrics;
pub(crate) use socket::serve;
