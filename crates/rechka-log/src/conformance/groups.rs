//! MUSTs 14 to 22: groups.
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Believer, Subject, append, at, batch, eventually, join, membership, texts, topic, unique};
use crate::{Append, CommitError, Epoch, Event, LogError, Membership, Offset, Partition, TopicPartition};

fn offsets(partition: &TopicPartition, next: Offset) -> Epoch {
    Epoch {
        offsets: vec![(partition.clone(), next)],
        appends: Vec::new(),
    }
}

/// MUST 14.
pub fn partitions_are_shared_out_by_number(subject: &mut dyn Subject) {
    let log = subject.log();
    let (one, two, group) = (topic(subject, "left", 5), topic(subject, "right", 5), unique("group"));
    for partition in 0..5 {
        append(log, at(&one, partition), batch(["left"]));
        append(log, at(&two, partition), batch(["right"]));
    }
    let mut members = [0, 1].map(|_| Believer::new(join(log, &group, &[&one, &two])));
    let mut by_partition: BTreeMap<Partition, usize> = BTreeMap::new();
    eventually(subject, "an even assignment", || {
        for (index, member) in members.iter_mut().enumerate() {
            if let Event::Batch(fetched) = member.poll() {
                assert!(member.owned.contains(&fetched.from.partition));
                by_partition.insert(fetched.from.partition, index);
            }
        }
        let shares = members.each_ref().map(|member| member.owned.len());
        shares[0] + shares[1] == 5 && shares.iter().all(|share| (2..=3).contains(share))
    });
    let mut all: Vec<_> = members.iter().flat_map(|member| member.owned.clone()).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4]);
    eventually(subject, "both topics of every partition", || {
        for member in &mut members {
            member.poll();
        }
        members.iter().all(|member| {
            member.owned.iter().all(|partition| {
                [&one, &two].iter().all(|topic| {
                    let from = at(topic, *partition);
                    member.fetched.iter().any(|fetched| fetched.from == from)
                })
            })
        })
    });
}

/// MUST 14.
pub fn a_member_starts_from_the_committed_offset(subject: &mut dyn Subject) {
    let (name, group) = (topic(subject, "start", 1), unique("group"));
    let partition = at(&name, 0);
    let first = append(subject.log(), partition.clone(), batch(["a", "b", "c"]));
    assert_eq!(subject.log().committed(&group, &partition).unwrap(), None);
    {
        let mut member = Believer::new(join(subject.log(), &group, &[&name]));
        let got = member.await_records(subject, 3);
        assert_eq!(got, [b"a", b"b", b"c"]);
        member.member.commit(offsets(&partition, first + 2)).unwrap();
    }
    subject.reopen();
    let committed = subject.log().committed(&group, &partition).unwrap();
    assert_eq!(committed, Some(first + 2));
    let mut member = Believer::new(join(subject.log(), &group, &[&name]));
    assert_eq!(member.await_records(subject, 1), [b"c"]);
}

/// MUST 15.
pub fn an_epoch_is_committed_whole(subject: &mut dyn Subject) {
    let log = subject.log();
    let (input, output, group) = (topic(subject, "in", 1), topic(subject, "out", 2), unique("group"));
    let first = append(log, at(&input, 0), batch(["1", "2"]));
    let mut member = Believer::new(join(log, &group, &[&input]));
    member.await_records(subject, 2);
    let part = |to, value| Append {
        to,
        batch: batch([value]),
    };
    let wrong = Epoch {
        offsets: vec![(at(&input, 0), first + 2)],
        appends: vec![part(at(&output, 0), "wrong"), part(at(&output, 9), "wrong")],
    };
    assert!(matches!(
        member.member.commit(wrong),
        Err(CommitError::Log(LogError::UnknownPartition { .. }))
    ));
    assert_eq!(log.committed(&group, &at(&input, 0)).unwrap(), None);
    let foreign = offsets(&at(&output, 0), 1);
    assert!(matches!(
        member.member.commit(foreign),
        Err(CommitError::Log(LogError::Invalid(_)))
    ));
    let right = Epoch {
        offsets: vec![(at(&input, 0), first + 2)],
        appends: vec![part(at(&output, 0), "x"), part(at(&output, 1), "y")],
    };
    member.member.commit(right).unwrap();
    assert_eq!(log.committed(&group, &at(&input, 0)).unwrap(), Some(first + 2));
    assert_eq!(texts(log, &at(&output, 0)), ["x"]);
    assert_eq!(texts(log, &at(&output, 1)), ["y"]);
    member.member.commit(Epoch::default()).unwrap();
}

/// MUST 16.
pub fn a_revoked_member_commits_until_its_next_poll(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, group) = (topic(subject, "revoked", 2), unique("group"));
    let mut old = Believer::new(join(log, &group, &[&name]));
    old.await_owned(subject, &[0, 1]);
    let mut new = Believer::new(join(log, &group, &[&name]));
    let mut revoked = Vec::new();
    eventually(subject, "the revocation", || {
        new.poll();
        if let Event::Revoked(partitions) = old.poll() {
            revoked = partitions;
        }
        !revoked.is_empty()
    });
    let last = at(&name, revoked[0]);
    old.member.commit(offsets(&last, 7)).unwrap();
    assert_eq!(log.committed(&group, &last).unwrap(), Some(7));
    eventually(subject, "the handover", || {
        old.poll();
        new.poll();
        new.owned.contains(&revoked[0])
    });
    let late = old.member.commit(offsets(&last, 8));
    assert!(matches!(late, Err(CommitError::Fenced(_))), "{late:?}");
    assert_eq!(log.committed(&group, &last).unwrap(), Some(7));
}

/// MUST 17.
pub fn a_member_that_lost_its_partitions_is_fenced(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, output, group) = (topic(subject, "fenced", 2), topic(subject, "out", 1), unique("group"));
    for partition in 0..2 {
        append(log, at(&name, partition), batch(["input"]));
    }
    let mut zombie = Believer::new(join(log, &group, &[&name]));
    zombie.await_owned(subject, &[0, 1]);
    // From here on it does not poll, and is given up at some time.
    let mut new = Believer::new(join(log, &group, &[&name]));
    eventually(subject, "the takeover", || {
        new.poll();
        !new.owned.is_empty()
    });
    let taken = at(&name, new.owned[0]);
    let epoch = |text| Epoch {
        offsets: vec![(taken.clone(), 1)],
        appends: vec![Append {
            to: at(&output, 0),
            batch: batch([text]),
        }],
    };
    let late = zombie.member.commit(epoch("zombie"));
    assert!(matches!(late, Err(CommitError::Fenced(_))), "{late:?}");
    let late = zombie.member.commit(Epoch {
        offsets: Vec::new(),
        ..epoch("zombie that names no partition")
    });
    assert!(matches!(late, Err(CommitError::Fenced(_))), "{late:?}");
    assert_eq!(log.committed(&group, &taken).unwrap(), None);
    new.member.commit(epoch("new")).unwrap();
    assert_eq!(texts(log, &at(&output, 0)), ["new"]);
    // It learns of its loss and is a member like any other again.
    eventually(subject, "the zombie's return", || {
        zombie.poll();
        new.poll();
        zombie.owned.len() == 1 && new.owned.len() == 1 && zombie.owned != new.owned
    });
    let nameless = Epoch {
        offsets: Vec::new(),
        ..epoch("returned")
    };
    zombie.member.commit(nameless).unwrap();
    assert_eq!(texts(log, &at(&output, 0)), ["new", "returned"]);
}

/// MUST 18.
pub fn a_dropped_member_leaves_its_partitions(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, group) = (topic(subject, "dropped", 2), unique("group"));
    for partition in 0..2 {
        append(log, at(&name, partition), batch([format!("of {partition}")]));
    }
    let mut first = Believer::new(join(log, &group, &[&name]));
    let mut second = Believer::new(join(log, &group, &[&name]));
    eventually(subject, "one partition each, read", || {
        first.poll();
        second.poll();
        first.owned.len() == 1 && second.owned.len() == 1 && !second.fetched.is_empty()
    });
    let left = second.owned[0];
    first.fetched.clear();
    drop(second);
    first.await_owned(subject, &[0, 1]);
    let again = format!("of {left}");
    eventually(subject, "the other's record, read again", || {
        first.poll();
        let values = first.fetched.iter().flat_map(|fetched| fetched.batch.iter());
        values.into_iter().any(|record| record.value == again.as_bytes())
    });
}

/// MUST 19.
pub fn groups_do_not_see_each_other(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, groups) = (topic(subject, "groups", 1), [unique("a"), unique("b")]);
    append(log, at(&name, 0), batch(["for all"]));
    let mut members = groups.each_ref().map(|group| Believer::new(join(log, group, &[&name])));
    for member in &mut members {
        assert_eq!(member.await_records(subject, 1), [b"for all"]);
    }
    members[0].member.commit(offsets(&at(&name, 0), 1)).unwrap();
    assert_eq!(log.committed(&groups[0], &at(&name, 0)).unwrap(), Some(1));
    assert_eq!(log.committed(&groups[1], &at(&name, 0)).unwrap(), None);
}

/// MUST 20.
pub fn a_member_seeks_pauses_and_resumes(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, group) = (topic(subject, "pause", 2), unique("group"));
    let (zero, one) = (at(&name, 0), at(&name, 1));
    append(log, zero.clone(), batch(["a"]));
    let second = append(log, zero.clone(), batch(["b"]));
    let mut member = Believer::new(join(log, &group, &[&name]));
    assert_eq!(member.await_records(subject, 2), [b"a", b"b"]);
    member.member.seek(&zero, second).unwrap();
    assert_eq!(member.await_records(subject, 1), [b"b"]);
    member.member.pause(std::slice::from_ref(&zero)).unwrap();
    append(log, zero.clone(), batch(["held back"]));
    append(log, one.clone(), batch(["goes on"]));
    assert_eq!(member.await_records(subject, 1), [b"goes on"]);
    eventually(subject, "caught up", || matches!(member.poll(), Event::CaughtUp));
    assert!(member.fetched.is_empty());
    member.member.resume(std::slice::from_ref(&zero)).unwrap();
    assert_eq!(member.await_records(subject, 1), [b"held back"]);
    let stranger = at(&name, 7);
    assert!(member.member.seek(&stranger, 0).is_err());
    assert!(member.member.pause(std::slice::from_ref(&stranger)).is_err());
}

/// MUST 21.
pub fn of_two_members_of_one_name_one_is_refused(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, group) = (topic(subject, "named", 2), unique("group"));
    let named = |number| Membership {
        worker: "anna".parse().unwrap(),
        number,
        ..membership(&group, &[&name])
    };
    let mut first = Believer::new(log.join(named(0)).unwrap());
    first.await_owned(subject, &[0, 1]);
    // Which of the two goes on is for the log to say.
    let mut members = vec![first];
    let mut refused = None;
    match log.join(named(0)) {
        Ok(second) => members.push(Believer::new(second)),
        Err(error) => refused = Some(error),
    }
    eventually(subject, "a refusal", || {
        for number in 0..members.len() {
            if refused.is_none()
                && let Err(error) = members[number].try_poll()
            {
                refused = Some(error);
                members.remove(number);
                break;
            }
        }
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert!(
        matches!(&refused, LogError::NameTaken { worker, .. } if worker == "anna"),
        "{refused}"
    );
    let mut other = members.pop().unwrap();
    other.await_owned(subject, &[0, 1]);
    other.member.commit(offsets(&at(&name, 0), 0)).unwrap();
    // Under another number it is another member.
    let mut sister = Believer::new(log.join(named(1)).unwrap());
    eventually(subject, "one partition each", || {
        other.poll();
        sister.poll();
        other.owned.len() == 1 && sister.owned.len() == 1
    });
    // Free again.
    drop((other, sister));
    let mut next = Believer::new(log.join(named(0)).unwrap());
    next.await_owned(subject, &[0, 1]);
}

/// MUST 22.
pub fn the_holder_of_a_partition_is_who_committed_last(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, group) = (topic(subject, "held", 2), unique("group"));
    for partition in 0..2 {
        append(log, at(&name, partition), batch(["a"]));
    }
    assert!(log.holders(&group, &name).unwrap().iter().all(Option::is_none));
    let own = membership(&group, &[&name]);
    let holder = own.holder();
    let mut member = Believer::new(log.join(own).unwrap());
    member.await_owned(subject, &[0, 1]);
    member.member.commit(offsets(&at(&name, 0), 1)).unwrap();
    eventually(subject, "who committed", || {
        let holders = log.holders(&group, &name).unwrap();
        assert!(holders.iter().flatten().all(|who| *who == holder), "{holders:?}");
        holders.is_empty() || holders == [Some(holder.clone()), None]
    });
}

/// MUSTs 15 to 18 together: members copy one topic to another while others join and leave at any moment, with epochs that
/// are dropped half done. Every record arrives once.
pub fn nothing_is_lost_or_repeated_while_members_come_and_go(subject: &mut dyn Subject) {
    const RECORDS: usize = 600;
    let log = subject.log();
    let (input, output, group) = (topic(subject, "from", 4), topic(subject, "to", 4), unique("group"));
    let copied = AtomicUsize::new(0);
    let finished = AtomicBool::new(false);
    let deadline = Instant::now() + 4 * subject.patience();
    thread::scope(|scope| {
        for worker in 0..3_u64 {
            let (input, output, group) = (&input, &output, &group);
            let (copied, finished) = (&copied, &finished);
            scope.spawn(move || {
                let mut random = worker + 1;
                while !finished.load(Ordering::Relaxed) {
                    // A life of some epochs; the last batch read is dropped with the member.
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let mut epochs = 3 + (random >> 60);
                    let mut member = join(log, group, &[input]);
                    while epochs > 0 && !finished.load(Ordering::Relaxed) {
                        let Event::Batch(fetched) = member.poll(Duration::from_millis(20)).unwrap() else {
                            continue;
                        };
                        let epoch = Epoch {
                            offsets: vec![(fetched.from.clone(), fetched.next_offset())],
                            appends: vec![Append {
                                to: at(output, fetched.from.partition),
                                batch: fetched.batch.clone(),
                            }],
                        };
                        epochs -= 1;
                        if epochs == 0 {
                            break;
                        }
                        match member.commit(epoch) {
                            Ok(()) => {
                                copied.fetch_add(fetched.batch.len(), Ordering::Relaxed);
                            }
                            Err(CommitError::Fenced(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
        for number in 0..RECORDS {
            append(log, at(&input, number as u32 % 4), batch([number.to_string()]));
        }
        while copied.load(Ordering::Relaxed) < RECORDS && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        finished.store(true, Ordering::Relaxed);
    });
    for partition in 0..4 {
        assert_eq!(
            texts(log, &at(&output, partition)),
            texts(log, &at(&input, partition)),
            "partition {partition}"
        );
    }
}
