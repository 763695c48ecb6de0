//! What a process would be given if another one died.
//!
//! Groups share partitions out by range: the members in an order that stays, each as many partitions in a row as the others, the first
//! ones one more where that does not come out even (Kafka's range assignor). So who holds what tells the order, and the order what each
//! would hold without the members of one process.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use rechka_log::{Holder, Partition};

/// The partitions that some member of `worker` would be given if any one other process died, and does not have. `own`: what its members
/// have, by number; `holders`: who has each partition, as far as that is known.
pub(super) fn wanted(
    worker: &str,
    own: &BTreeMap<u32, BTreeSet<Partition>>,
    holders: &[Option<Holder>],
) -> BTreeSet<Partition> {
    let members = members(worker, own, holders);
    let others: BTreeSet<&str> = members
        .iter()
        .map(|member| &*member.worker)
        .filter(|other| *other != worker)
        .collect();
    let mut wanted = BTreeSet::new();
    for gone in others {
        let left: Vec<&Holder> = members.iter().filter(|member| &*member.worker != gone).collect();
        for (place, member) in left.iter().enumerate().filter(|(_, member)| &*member.worker == worker) {
            let has = own.get(&member.number);
            let given = range(place as u32, left.len() as u32, holders.len() as Partition);
            wanted.extend(given.filter(|partition| has.is_none_or(|has| !has.contains(partition))));
        }
    }
    wanted
}

/// The members of the group in its order: that of what they hold. Who holds nothing is at the end.
fn members(worker: &str, own: &BTreeMap<u32, BTreeSet<Partition>>, holders: &[Option<Holder>]) -> Vec<Holder> {
    let mut first: BTreeMap<Holder, Partition> = BTreeMap::new();
    let is_own = |partition| own.values().any(|held| held.contains(&partition));
    for (partition, holder) in (0..).zip(holders) {
        // Of this process it is known better.
        if let Some(holder) = holder
            .as_ref()
            .filter(|holder| &*holder.worker != worker && !is_own(partition))
        {
            first.entry(holder.clone()).or_insert(partition);
        }
    }
    for (number, held) in own {
        let member = Holder {
            worker: worker.into(),
            number: *number,
        };
        first.insert(member, held.first().copied().unwrap_or(Partition::MAX));
    }
    let mut members: Vec<_> = first.into_iter().map(|(member, first)| (first, member)).collect();
    members.sort_unstable();
    members.into_iter().map(|(_, member)| member).collect()
}

/// What the member in this place of so many is given of so many partitions.
fn range(place: u32, members: u32, partitions: Partition) -> Range<Partition> {
    let (each, more) = (partitions / members, partitions % members);
    let start = place * each + place.min(more);
    start..start + each + u32::from(place < more)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(worker: &str, number: u32) -> Holder {
        Holder {
            worker: worker.into(),
            number,
        }
    }

    /// What everybody holds when these members share so many partitions.
    fn share(members: &[Holder], partitions: Partition) -> Vec<(Holder, BTreeSet<Partition>)> {
        let held = |place: usize| range(place as u32, members.len() as u32, partitions).collect();
        members
            .iter()
            .enumerate()
            .map(|(place, member)| (member.clone(), held(place)))
            .collect()
    }

    fn holders(shares: &[(Holder, BTreeSet<Partition>)], partitions: Partition) -> Vec<Option<Holder>> {
        let holder = |partition| shares.iter().find(|(_, held)| held.contains(&partition));
        (0..partitions)
            .map(|partition| holder(partition).map(|(holder, _)| holder.clone()))
            .collect()
    }

    fn own(worker: &str, shares: &[(Holder, BTreeSet<Partition>)]) -> BTreeMap<u32, BTreeSet<Partition>> {
        let own = shares.iter().filter(|(holder, _)| &*holder.worker == worker);
        own.map(|(holder, held)| (holder.number, held.clone())).collect()
    }

    fn wanted_by(worker: &str, members: &[Holder], partitions: Partition) -> Vec<Partition> {
        let shares = share(members, partitions);
        let wanted = wanted(worker, &own(worker, &shares), &holders(&shares, partitions));
        wanted.into_iter().collect()
    }

    #[test]
    fn of_two_each_keeps_what_the_other_has() {
        let members = [member("a", 0), member("b", 0)];
        assert_eq!(wanted_by("a", &members, 4), [2, 3]);
        assert_eq!(wanted_by("b", &members, 4), [0, 1]);
    }

    #[test]
    fn of_three_each_keeps_what_would_move_to_it() {
        let members = [member("a", 0), member("b", 0), member("c", 0)];
        assert_eq!(wanted_by("a", &members, 6), [2]);
        assert_eq!(wanted_by("b", &members, 6), [0, 1, 4, 5]);
        assert_eq!(wanted_by("c", &members, 6), [3]);
    }

    #[test]
    fn what_would_move_between_tasks_of_one_process_is_kept_too() {
        let members = [member("a", 0), member("a", 1), member("b", 0), member("b", 1)];
        assert_eq!(wanted_by("a", &members, 4), [1, 2, 3]);
    }

    #[test]
    fn who_holds_nothing_would_be_given_what_is_last() {
        let members = [member("a", 0), member("b", 0), member("c", 0)];
        assert_eq!(wanted_by("c", &members, 2), [1]);
    }

    #[test]
    fn alone_or_before_anybody_has_committed_there_is_nothing_to_keep() {
        assert!(wanted_by("a", &[member("a", 0), member("a", 1)], 4).is_empty());
        let own = BTreeMap::from([(0, BTreeSet::from([0, 1]))]);
        assert!(wanted("a", &own, &[None, None, None, None]).is_empty());
    }

    proptest! {
        /// Whoever dies, everything that moves is kept by who gets it; the members that hold something are known by that.
        #[test]
        fn whoever_dies_what_moves_is_kept_where_it_goes(workers in 2..5_u32, tasks in 1..4_u32, more in 0..20_u32, seed in any::<u64>()) {
            let partitions = workers * tasks + more;
            let mut members: Vec<Holder> = (0..workers)
                .flat_map(|worker| (0..tasks).map(move |task| member(&format!("w{worker}"), task)))
                .collect();
            // Members without names are in any order.
            members.sort_by_key(|member| {
                use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
                BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, member))
            });
            let before = share(&members, partitions);
            for gone in 0..workers {
                let gone = format!("w{gone}");
                let left: Vec<Holder> = members.iter().filter(|member| *member.worker != *gone).cloned().collect();
                for (holder, held) in share(&left, partitions) {
                    let had = &before.iter().find(|(member, _)| *member == holder).unwrap().1;
                    let own = own(&holder.worker, &before);
                    let kept = wanted(&holder.worker, &own, &holders(&before, partitions));
                    prop_assert!(held.difference(had).all(|partition| kept.contains(partition)));
                }
            }
        }
    }
}
