//! Who of a group owns which partition: a state machine without clock, threads or I/O.
//!
//! A partition has an owner and a target. Where they differ, the owner is told (`Revoked`), may still commit, and lets go
//! at its next poll; only then the target becomes the owner and is told (`Assigned`). An owner that does not poll in time
//! loses the partition by force: it is fenced from then on. While a commit of the owner is being written, the partition
//! stays where it is, so that the next owner reads the offsets of that commit.
use std::{collections::BTreeMap, time::Duration};

use crate::Partition;

/// A member, numbered in the order of joining.
pub(super) type MemberId = u64;

/// A time since some start, given by the caller.
pub(super) type Now = Duration;

/// What a member is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

#[derive(Debug)]
pub(super) struct Assignment {
    slots: Vec<Slot>,
    members: BTreeMap<MemberId, Losses>,
    next_member: MemberId,
    handover: Duration,
}

/// What a member lost by force.
#[derive(Debug, Default)]
struct Losses {
    /// What it has not been told yet.
    untold: Vec<Partition>,
    /// One that it lost since its last poll.
    since_poll: Option<Partition>,
}

/// One partition number.
#[derive(Clone, Debug, Default)]
struct Slot {
    owner: Option<MemberId>,
    target: Option<MemberId>,
    /// The owner has been told that it owns the partition.
    assigned: bool,
    /// The owner has been told that it is to let go.
    revoked: bool,
    /// A commit of the owner is being written.
    committing: bool,
    /// When the target changed away from the owner.
    since: Now,
}

impl Slot {
    fn leaving(&self) -> bool {
        self.owner.is_some() && self.owner != self.target
    }

    fn hand_over(&mut self) {
        self.owner = self.target;
        self.assigned = false;
        self.revoked = false;
    }
}

impl Assignment {
    /// A group without members over so many partitions. `handover`: how long an owner has to let go.
    pub(super) fn new(partitions: Partition, handover: Duration) -> Self {
        Self {
            slots: vec![Slot::default(); partitions as usize],
            members: BTreeMap::new(),
            next_member: 0,
            handover,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn join(&mut self, now: Now) -> MemberId {
        let member = self.next_member;
        self.next_member += 1;
        self.members.insert(member, Losses::default());
        self.rebalance(now);
        member
    }

    pub(super) fn leave(&mut self, member: MemberId, now: Now) {
        self.members.remove(&member);
        for slot in &mut self.slots {
            if slot.owner == Some(member) {
                slot.owner = None;
                slot.assigned = false;
                slot.revoked = false;
            }
        }
        self.rebalance(now);
    }

    /// Called at the start of every poll: the member lets go of what it was told to. True if that changed an owner.
    pub(super) fn let_go(&mut self, member: MemberId) -> bool {
        if let Some(losses) = self.members.get_mut(&member) {
            losses.since_poll = None;
        }
        let mut changed = false;
        for slot in &mut self.slots {
            let owned = slot.owner == Some(member);
            if owned && (slot.revoked || (slot.leaving() && !slot.assigned)) {
                changed |= slot.leaving();
                slot.hand_over();
            }
        }
        changed
    }

    /// What is new for the member.
    pub(super) fn notice(&mut self, member: MemberId) -> Option<Notice> {
        let losses = self.members.get_mut(&member);
        let untold = losses.map(|losses| std::mem::take(&mut losses.untold));
        let mut revoked = untold.unwrap_or_default();
        let mut assigned = Vec::new();
        for (partition, slot) in (0..).zip(&mut self.slots) {
            if slot.owner != Some(member) || revoked.contains(&partition) {
                continue;
            }
            if slot.leaving() {
                slot.revoked = true;
                revoked.push(partition);
            } else if !slot.assigned {
                assigned.push(partition);
            }
        }
        if !revoked.is_empty() {
            revoked.sort_unstable();
            return Some(Notice::Revoked(revoked));
        }
        if assigned.is_empty() {
            return None;
        }
        for &partition in &assigned {
            self.slots[partition as usize].assigned = true;
        }
        Some(Notice::Assigned(assigned))
    }

    /// Takes partitions from owners that had their time.
    pub(super) fn expire(&mut self, now: Now) {
        for (partition, slot) in (0..).zip(&mut self.slots) {
            if !slot.leaving() || slot.committing || now < slot.since + self.handover {
                continue;
            }
            let losses = slot.owner.and_then(|owner| self.members.get_mut(&owner));
            if slot.assigned
                && let Some(losses) = losses
            {
                losses.since_poll = Some(partition);
                if !slot.revoked {
                    losses.untold.push(partition);
                }
            }
            slot.hand_over();
        }
    }

    /// When [`Assignment::expire`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Now> {
        let leaving = |slot: &&Slot| slot.leaving() && !slot.committing;
        let leaving = self.slots.iter().filter(leaving);
        leaving.map(|slot| slot.since + self.handover).min()
    }

    /// Starts a commit: the partitions stay with the member until [`Assignment::end_commit`]. Fails with the partition
    /// that is not the member's.
    ///
    /// A commit that names no partition may be about any of the member's: all of them stay, and it fails if one was lost
    /// since the last poll.
    pub(super) fn begin_commit(&mut self, member: MemberId, partitions: &[Partition]) -> Result<(), Partition> {
        for &partition in partitions {
            let slot = self.slots.get(partition as usize);
            if !slot.is_some_and(|slot| slot.owner == Some(member) && slot.assigned) {
                return Err(partition);
            }
        }
        let losses = self.members.get(&member);
        if partitions.is_empty()
            && let Some(lost) = losses.and_then(|losses| losses.since_poll)
        {
            return Err(lost);
        }
        self.set_committing(member, partitions, true);
        Ok(())
    }

    pub(super) fn end_commit(&mut self, member: MemberId, partitions: &[Partition]) {
        self.set_committing(member, partitions, false);
    }

    fn set_committing(&mut self, member: MemberId, partitions: &[Partition], committing: bool) {
        for (partition, slot) in (0..).zip(&mut self.slots) {
            if slot.owner == Some(member) && (partitions.is_empty() || partitions.contains(&partition)) {
                slot.committing = committing;
            }
        }
    }

    /// Shares the partitions out evenly and moves as few as that takes.
    fn rebalance(&mut self, now: Now) {
        let members: Vec<MemberId> = self.members.keys().copied().collect();
        let mut room: BTreeMap<MemberId, usize> = BTreeMap::new();
        for (index, &member) in members.iter().enumerate() {
            let extra = usize::from(index < self.slots.len() % members.len());
            room.insert(member, self.slots.len() / members.len() + extra);
        }
        let mut take = |member: Option<MemberId>| -> bool {
            let room = member.and_then(|member| room.get_mut(&member));
            room.is_some_and(|room| {
                let free = *room > 0;
                *room -= usize::from(free);
                free
            })
        };
        let before: Vec<_> = self.slots.iter().map(|slot| slot.target).collect();
        // Owners first keep what they have, as far as their share goes.
        for slot in &mut self.slots {
            slot.target = slot.owner.filter(|&owner| take(Some(owner)));
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.target.is_none()) {
            slot.target = members.iter().copied().find(|&member| take(Some(member)));
        }
        for (slot, before) in self.slots.iter_mut().zip(before) {
            if slot.owner.is_none() {
                slot.hand_over();
            } else if slot.leaving() && before == slot.owner {
                slot.since = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const HANDOVER: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Now {
        Duration::from_secs(seconds)
    }

    fn poll(group: &mut Assignment, member: MemberId) -> Option<Notice> {
        group.let_go(member);
        group.notice(member)
    }

    #[test]
    fn the_first_member_gets_all_partitions() {
        let mut group = Assignment::new(3, HANDOVER);
        let a = group.join(seconds(0));
        assert_eq!(poll(&mut group, a), Some(Notice::Assigned(vec![0, 1, 2])));
        assert_eq!(poll(&mut group, a), None);
    }

    #[test]
    fn a_second_member_waits_until_the_first_has_let_go() {
        let mut group = Assignment::new(4, HANDOVER);
        let a = group.join(seconds(0));
        poll(&mut group, a);
        let b = group.join(seconds(1));
        assert_eq!(poll(&mut group, b), None);
        assert_eq!(poll(&mut group, a), Some(Notice::Revoked(vec![2, 3])));
        assert_eq!(poll(&mut group, b), None);
        assert_eq!(group.begin_commit(a, &[2, 3]), Ok(()));
        group.end_commit(a, &[2, 3]);
        assert_eq!(poll(&mut group, a), None);
        assert_eq!(group.begin_commit(a, &[2, 3]), Err(2));
        assert_eq!(poll(&mut group, b), Some(Notice::Assigned(vec![2, 3])));
        assert_eq!(group.begin_commit(b, &[2, 3]), Ok(()));
    }

    #[test]
    fn a_member_that_leaves_gives_its_partitions_at_once() {
        let mut group = Assignment::new(2, HANDOVER);
        let a = group.join(seconds(0));
        poll(&mut group, a);
        let b = group.join(seconds(0));
        group.leave(a, seconds(0));
        assert_eq!(poll(&mut group, b), Some(Notice::Assigned(vec![0, 1])));
    }

    #[test]
    fn a_member_that_does_not_poll_is_fenced_after_the_handover_time() {
        let mut group = Assignment::new(2, HANDOVER);
        let zombie = group.join(seconds(0));
        poll(&mut group, zombie);
        let b = group.join(seconds(5));
        group.expire(seconds(14));
        assert_eq!(group.begin_commit(zombie, &[1]), Ok(()));
        group.expire(seconds(15));
        assert_eq!(poll(&mut group, b), None, "the commit still holds the partition");
        group.end_commit(zombie, &[1]);
        group.expire(seconds(15));
        assert_eq!(poll(&mut group, b), Some(Notice::Assigned(vec![1])));
        assert_eq!(group.begin_commit(zombie, &[1]), Err(1));
        assert_eq!(group.begin_commit(zombie, &[0]), Ok(()));
        group.end_commit(zombie, &[0]);
        assert_eq!(poll(&mut group, zombie), Some(Notice::Revoked(vec![1])));
        assert_eq!(poll(&mut group, zombie), None);
    }

    #[test]
    fn a_commit_that_names_no_partition_is_fenced_until_the_member_knows_its_loss() {
        let mut group = Assignment::new(2, HANDOVER);
        let zombie = group.join(seconds(0));
        poll(&mut group, zombie);
        let b = group.join(seconds(0));
        assert_eq!(group.begin_commit(zombie, &[]), Ok(()));
        group.expire(seconds(10));
        assert_eq!(poll(&mut group, b), None, "the commit still holds the partition");
        group.end_commit(zombie, &[]);
        group.expire(seconds(10));
        assert_eq!(group.begin_commit(zombie, &[]), Err(1));
        assert_eq!(poll(&mut group, zombie), Some(Notice::Revoked(vec![1])));
        assert_eq!(group.begin_commit(zombie, &[]), Ok(()));
        group.end_commit(zombie, &[]);
    }

    #[test]
    fn a_member_that_was_told_to_let_go_and_did_not_is_fenced_too() {
        let mut group = Assignment::new(2, HANDOVER);
        let zombie = group.join(seconds(0));
        poll(&mut group, zombie);
        group.join(seconds(0));
        assert_eq!(poll(&mut group, zombie), Some(Notice::Revoked(vec![1])));
        assert_eq!(group.begin_commit(zombie, &[]), Ok(()));
        group.end_commit(zombie, &[]);
        group.expire(seconds(10));
        assert_eq!(group.begin_commit(zombie, &[]), Err(1));
        assert_eq!(poll(&mut group, zombie), None);
        assert_eq!(group.begin_commit(zombie, &[]), Ok(()));
    }

    #[test]
    fn a_partition_that_comes_back_is_assigned_anew() {
        let mut group = Assignment::new(1, HANDOVER);
        let a = group.join(seconds(0));
        let b = group.join(seconds(0));
        assert_eq!(poll(&mut group, a), Some(Notice::Assigned(vec![0])));
        assert_eq!(poll(&mut group, b), None);
        group.leave(a, seconds(0));
        assert_eq!(poll(&mut group, b), Some(Notice::Assigned(vec![0])));
    }

    proptest! {
        /// Members come, go, poll, stall and commit at random: no partition has two owners who may commit, and in the end
        /// everything is shared out evenly.
        #[test]
        fn a_partition_never_has_two_owners(
            partitions in 1..7_u32,
            steps in vec((0..5_u8, any::<prop::sample::Index>(), 0..6_u64), 1..60),
        ) {
            let mut group = Assignment::new(partitions, HANDOVER);
            let mut members: BTreeMap<MemberId, Vec<Partition>> = BTreeMap::new();
            let mut now = 0;
            for (step, pick, wait) in steps {
                now += wait;
                if step == 0 || members.is_empty() {
                    members.insert(group.join(seconds(now)), Vec::new());
                    continue;
                }
                let member = *pick.get(&members.keys().copied().collect::<Vec<_>>());
                match step {
                    1 if members.len() > 1 => {
                        group.leave(member, seconds(now));
                        members.remove(&member);
                    }
                    2 => group.expire(seconds(now)),
                    _ => note(members.get_mut(&member).unwrap(), poll(&mut group, member)),
                }
                for partition in 0..partitions {
                    let may_commit = members.keys().filter(|&&member| {
                        let may = group.begin_commit(member, &[partition]).is_ok();
                        if may {
                            group.end_commit(member, &[partition]);
                        }
                        may
                    });
                    prop_assert!(may_commit.count() <= 1);
                }
            }
            for _ in 0..3 {
                for (&member, owned) in &mut members {
                    while let Some(notice) = poll(&mut group, member) {
                        note(owned, Some(notice));
                    }
                }
            }
            let mut all: Vec<Partition> = members.values().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..partitions).collect::<Vec<_>>());
            let shares = members.values().map(Vec::len);
            prop_assert!(shares.clone().max().unwrap() - shares.min().unwrap() <= 1);
        }
    }

    /// What a member that believes what it is told thinks it owns.
    fn note(owned: &mut Vec<Partition>, notice: Option<Notice>) {
        match notice {
            Some(Notice::Assigned(partitions)) => {
                assert!(partitions.iter().all(|p| !owned.contains(p)));
                owned.extend(partitions);
            }
            Some(Notice::Revoked(partitions)) => owned.retain(|p| !partitions.contains(p)),
            None => {}
        }
    }
}
