//! The conformance kit: one check for every MUST of the contract, for any implementation.
//!
//! ```ignore
//! fn subject() -> impl Subject { … }
//! rechka_log::conformance_tests!(subject());   // one #[test] per check
//! ```
//!
//! A check fails by panicking. Checks use topics and groups of their own, so that they may share one log, and assume
//! neither dense offsets nor instant assignment: what the contract promises "once it has settled" is waited for as long as
//! the subject's patience goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a check fails by panicking"
)]

mod groups;
mod past;
mod records;
mod topics;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use groups::*;
pub use past::*;
pub use records::*;
pub use topics::*;

use crate::{
    Append, Batch, BatchBuilder, Event, Fetched, Log, Member, Membership, Offset, Partition, Result, TopicPartition,
    TopicSpec,
};

/// An implementation under test.
pub trait Subject {
    /// The log.
    fn log(&self) -> &dyn Log;
    /// Closes the log and opens it again.
    fn reopen(&mut self);
    /// Makes retention and compaction happen soon, where the implementation can be told to.
    fn clean(&self);
    /// Whether [`Subject::clean`] makes compaction happen within the patience. If not, only its safety is checked.
    fn compacts_soon(&self) -> bool {
        true
    }
    /// Whether retention deletes every batch that lies outside its bounds, or only larger units that lie outside as a whole.
    fn deletes_batches(&self) -> bool {
        true
    }
    /// How long a promise of the contract may take: an assignment, the fencing of a member that does not poll, retention.
    fn patience(&self) -> Duration;
}

/// Makes a `#[test]` of every check; the expression gives a fresh [`Subject`].
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr) => {
        $crate::conformance_tests! { @each $subject;
            a_topic_is_created_once
            unknown_topics_and_partitions_are_errors
            a_deleted_topic_is_new_when_made_again
            records_come_back_as_they_went_in
            offsets_grow_in_the_order_of_each_producer
            a_wrong_part_refuses_the_whole_append
            acknowledged_records_survive_reopening
            a_reader_starts_inside_a_batch
            a_waiting_reader_is_woken_by_the_commit
            a_reader_of_several_partitions_gets_all_of_them
            a_reader_says_that_all_is_read
            offsets_span_what_is_there
            the_first_offset_at_a_time_is_found
            records_before_an_offset_are_deleted
            retention_by_size_deletes_the_oldest
            retention_by_age_deletes_the_oldest
            compaction_keeps_the_last_record_of_every_key
            partitions_are_shared_out_by_number
            a_member_starts_from_the_committed_offset
            an_epoch_is_committed_whole
            a_revoked_member_commits_until_its_next_poll
            a_member_that_lost_its_partitions_is_fenced
            a_dropped_member_leaves_its_partitions
            groups_do_not_see_each_other
            a_member_seeks_pauses_and_resumes
            of_two_members_of_one_name_one_is_refused
            the_holder_of_a_partition_is_who_committed_last
            nothing_is_lost_or_repeated_while_members_come_and_go
        }
    };
    (@each $subject:expr; $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::conformance::$check(&mut $subject);
            }
        )*
    };
}

/// A topic name that no other check uses.
fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{}-{number}", started.as_micros())
}

/// Makes a topic of a unique name that keeps everything.
fn topic(subject: &dyn Subject, stem: &str, partitions: Partition) -> String {
    let name = unique(stem);
    let spec = TopicSpec::new(name.as_str(), partitions);
    subject.log().create_topic(&spec).unwrap();
    name
}

fn at(topic: &str, partition: Partition) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// Records without keys, of time 0.
fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Batch {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(None, value.as_ref(), 0, &[]).unwrap();
    }
    builder.finish()
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as i64
}

fn append(log: &dyn Log, to: TopicPartition, batch: Batch) -> Offset {
    let ack = log.append(vec![Append { to, batch }]).unwrap();
    ack.wait().unwrap()[0]
}

/// The values of a partition from an offset to the end, with their offsets.
fn values(log: &dyn Log, partition: &TopicPartition, from: Offset) -> Vec<(Offset, Vec<u8>)> {
    let held = log.offsets(partition).unwrap();
    let mut reader = log.read(vec![(partition.clone(), from)]).unwrap();
    let mut all = Vec::new();
    let mut position = from.max(held.start);
    while position < held.end {
        let fetched = reader.poll(Duration::from_secs(30)).unwrap();
        let fetched = fetched.expect("a record before the end");
        position = fetched.next_offset();
        all.extend(numbered(&fetched));
    }
    all
}

fn numbered(fetched: &Fetched) -> impl Iterator<Item = (Offset, Vec<u8>)> {
    (fetched.base_offset..).zip(fetched.batch.iter().map(|record| record.value.to_vec()))
}

/// The values alone, as text.
fn texts(log: &dyn Log, partition: &TopicPartition) -> Vec<String> {
    let text = |(_, value)| String::from_utf8(value).unwrap();
    values(log, partition, 0).into_iter().map(text).collect()
}

fn membership(group: &str, topics: &[&str]) -> Membership {
    Membership::new(group, topics.iter().map(|topic| (*topic).into()).collect())
}

fn join(log: &dyn Log, group: &str, topics: &[&str]) -> Box<dyn Member> {
    log.join(membership(group, topics)).unwrap()
}

/// Waits until something is so.
fn eventually(subject: &dyn Subject, what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + subject.patience();
    while !so() {
        assert!(Instant::now() < deadline, "not within patience: {what}");
    }
}

/// What a member believes to own, as it polls.
struct Believer {
    member: Box<dyn Member>,
    owned: Vec<Partition>,
    fetched: Vec<Fetched>,
}

impl Believer {
    fn new(member: Box<dyn Member>) -> Self {
        Self {
            member,
            owned: Vec::new(),
            fetched: Vec::new(),
        }
    }

    /// Polls once, shortly.
    fn poll(&mut self) -> Event {
        self.try_poll().unwrap()
    }

    fn try_poll(&mut self) -> Result<Event> {
        let event = self.member.poll(Duration::from_millis(20))?;
        match &event {
            Event::Assigned(partitions) => self.owned.extend(partitions),
            Event::Revoked(partitions) => self.owned.retain(|p| !partitions.contains(p)),
            Event::Batch(fetched) => self.fetched.push(fetched.clone()),
            Event::CaughtUp | Event::Nothing => {}
        }
        self.owned.sort_unstable();
        Ok(event)
    }

    /// Polls until it owns these partitions.
    fn await_owned(&mut self, subject: &dyn Subject, partitions: &[Partition]) {
        eventually(subject, "the assignment", || {
            self.poll();
            self.owned == partitions
        });
    }

    /// Polls until it has so many records.
    fn await_records(&mut self, subject: &dyn Subject, records: usize) -> Vec<Vec<u8>> {
        eventually(subject, "records", || {
            self.poll();
            let have: usize = self.fetched.iter().map(|fetched| fetched.batch.len()).sum();
            have >= records
        });
        let fetched = std::mem::take(&mut self.fetched);
        let values = fetched.iter().flat_map(numbered);
        values.map(|(_, value)| value).collect()
    }
}
