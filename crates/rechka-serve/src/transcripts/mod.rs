//! What was said: the list of sessions, their segments, and who listens.
//!
//! One thread ([`Follower`]) reads the topics of transcripts and partials. The [`Catalog`] keeps a few hundred bytes of every
//! listed session, and where in the log its segments lie; the segments themselves stay in the log and are read again on demand.
//! Listeners have a bounded queue ([`Subscription`]): newer partials replace older ones, and a listener too slow for the finals
//! reads those it missed from the log.
mod catalog;
mod follower;
mod segments;
mod subscription;

pub(crate) use catalog::{Catalog, Known, Summary};
pub(crate) use follower::Follower;
pub(crate) use segments::read_segments;
pub(crate) use subscription::{Heard, Subscription};

#[cfg(test)]
mod tests;
