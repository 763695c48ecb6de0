//! Two workers keep copies of each other's state, and take over from each other again and again.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rechka_log::{
    Ack, Append, CommitError, Epoch, Event, Holder, Log, Member, Membership, Offset, OffsetRange, Partition, Reader,
    Result, TopicPartition, TopicSpec, Worker,
};

use super::{crashes::die_at, support::*};
use crate::{RunOptions, RunningQuery, Standbys, run};

/// Who committed last.
type Holders = Arc<Mutex<HashMap<(Arc<str>, TopicPartition), Holder>>>;

/// A log that keeps who committed last, as one for several processes does.
struct SharedLog {
    log: Arc<dyn Log>,
    holders: Holders,
}

struct Marking {
    member: Box<dyn Member>,
    membership: Membership,
    holders: Holders,
}

impl Member for Marking {
    fn poll(&mut self, wait: Duration) -> Result<Event> {
        self.member.poll(wait)
    }
    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError> {
        let named: Vec<_> = epoch.offsets.iter().map(|(name, _)| name.clone()).collect();
        self.member.commit(epoch)?;
        let mut holders = self.holders.lock().unwrap();
        for name in named {
            holders.insert((self.membership.group.clone(), name), self.membership.holder());
        }
        Ok(())
    }
    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.member.seek(partition, offset)
    }
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.member.pause(partitions)
    }
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.member.resume(partitions)
    }
}

impl Log for SharedLog {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.log.create_topic(spec)
    }
    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.log.delete_topic(topic)
    }
    fn topics(&self) -> Result<Vec<TopicSpec>> {
        self.log.topics()
    }
    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.log.offsets(partition)
    }
    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        self.log.offset_at(partition, timestamp)
    }
    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.log.delete_before(partition, offset)
    }
    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        self.log.committed(group, partition)
    }
    fn holders(&self, group: &str, topic: &str) -> Result<Vec<Option<Holder>>> {
        let holders = self.holders.lock().unwrap();
        let holder = |partition| {
            holders
                .get(&(group.into(), TopicPartition::new(topic, partition)))
                .cloned()
        };
        Ok((0..PARTITIONS).map(holder).collect())
    }
    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        self.log.append(appends)
    }
    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>> {
        self.log.read(from)
    }
    fn join(&self, membership: Membership) -> Result<Box<dyn Member>> {
        Ok(Box::new(Marking {
            member: self.log.join(membership.clone())?,
            membership,
            holders: self.holders.clone(),
        }))
    }
}

const PARTITIONS: Partition = 4;
const EVENTS: i64 = 1500;

fn events(partition: Partition) -> Vec<String> {
    let event = |number| event(number % 50, number / 10, number + i64::from(partition));
    (0..EVENTS).map(event).collect()
}

fn start(log: &Arc<dyn Log>, name: &str, deaths: Vec<usize>) -> RunningQuery {
    let worker: Worker = name.parse().unwrap();
    let options = RunOptions {
        worker,
        standbys: Standbys::One,
        parallelism: 2,
        snapshot_bytes: 2000,
        failpoint: die_at(deaths).0,
        ..options()
    };
    run(log.clone(), totals_in_place(PARTITIONS), options).unwrap()
}

#[test]
fn who_takes_over_with_a_standby_goes_on_exactly_where_the_other_stopped() {
    let expected = {
        let log = TestLog::new();
        log.create("events", PARTITIONS);
        for partition in 0..PARTITIONS {
            log.append("events", partition, &events(partition), 100);
        }
        run(log.log.clone(), totals_in_place(PARTITIONS), to_the_end())
            .unwrap()
            .wait()
            .unwrap();
        log.values("totals")
    };
    assert!(expected.len() > 100);

    let test = TestLog::new();
    test.create("events", PARTITIONS);
    let log: Arc<dyn Log> = Arc::new(SharedLog {
        log: test.log.clone(),
        holders: Holders::default(),
    });
    // Tasks die from time to time, in the middle of whatever they do; and whole workers stop.
    let deaths = |seed: usize| (1..40).map(|death| death * (401 + 13 * seed)).collect::<Vec<_>>();
    let mut workers = vec![start(&log, "w0", deaths(0)), start(&log, "w1", deaths(1))];
    let parts: Vec<Vec<String>> = (0..PARTITIONS).map(events).collect();
    let mut kept = 0;
    for (round, from) in (0..EVENTS as usize).step_by(10).enumerate() {
        for partition in 0..PARTITIONS {
            test.append("events", partition, &parts[partition as usize][from..from + 10], 3);
        }
        thread::sleep(Duration::from_millis(30));
        if round % 50 == 49 {
            let old = workers.remove(0);
            kept += workers[0]
                .statistics()
                .standbys
                .iter()
                .filter(|standby| standby.epoch > 0)
                .count();
            old.stop().unwrap();
            workers.push(start(&log, &format!("w{}", 2 + round), deaths(round)));
        }
    }
    assert!(kept > 0, "nobody kept a copy");
    let worked_off = |partition| {
        let name = TopicPartition::new("events", partition);
        let committed = test.log.committed("totals.0", &name).unwrap();
        committed == Some(test.log.offsets(&name).unwrap().end)
    };
    wait_until("everything is worked off", || (0..PARTITIONS).all(worked_off));
    workers.into_iter().for_each(|worker| worker.stop().unwrap());
    run(test.log.clone(), totals_in_place(PARTITIONS), to_the_end())
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(test.values("totals"), expected);
}
