//! One thing after another goes wrong, in an order that the seed gives.
use std::{
    fmt,
    ops::Range,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    brokers::{BROKERS, Brokers},
    setup::Setup,
    workers::Workers,
};

/// Between two disturbances.
const APART_MILLIS: Range<u64> = 2_000..6_000;
/// How long a killed worker is away.
const WORKER_AWAY_MILLIS: Range<u64> = 0..4_000;
/// How long a stopped worker stands: the tests' brokers give a member up after 6 s.
const WORKER_STANDS_MILLIS: Range<u64> = 8_000..14_000;
/// How long a killed broker is away, besides the seconds that it takes to start.
const BROKER_AWAY_MILLIS: Range<u64> = 1_000..8_000;
/// How long a broker that came back may catch up before the next is killed: never two at once.
const BROKER_CATCHES_UP: Duration = Duration::from_secs(3);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    WorkerKilled,
    WorkerStopped,
    BrokerKilled,
}

pub const KINDS: [Kind; 3] = [Kind::WorkerKilled, Kind::WorkerStopped, Kind::BrokerKilled];

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerStopped => "worker stopped",
            Self::BrokerKilled => "broker killed",
        })
    }
}

/// What went wrong, and when.
pub struct Disturbance {
    pub kind: Kind,
    pub at: Instant,
}

/// What will go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    kind: Kind,
    /// Number of the worker or broker, from 1.
    target: usize,
    /// After the one before.
    after: Duration,
    /// How long it is away.
    away: Duration,
}

/// All that will go wrong: each kind once, in some order, then again.
struct Script {
    random: StdRng,
    workers: usize,
    round: Vec<Kind>,
}

impl Script {
    fn new(seed: u64, workers: usize) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            workers,
            round: Vec::new(),
        }
    }
}

impl Iterator for Script {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.round.is_empty() {
            self.round = KINDS.to_vec();
            self.round.shuffle(&mut self.random);
        }
        let kind = self.round.pop()?;
        let (targets, away) = match kind {
            Kind::WorkerKilled => (self.workers, WORKER_AWAY_MILLIS),
            Kind::WorkerStopped => (self.workers, WORKER_STANDS_MILLIS),
            Kind::BrokerKilled => (BROKERS, BROKER_AWAY_MILLIS),
        };
        Some(Step {
            kind,
            target: self.random.random_range(1..=targets),
            after: Duration::from_millis(self.random.random_range(APART_MILLIS)),
            away: Duration::from_millis(self.random.random_range(away)),
        })
    }
}

/// Lets things go wrong, and mends them.
pub struct Disturber<'a> {
    brokers: &'a Brokers,
    workers: &'a mut Workers,
    script: Script,
    next: Step,
    /// When the last thing went wrong.
    last: Instant,
    begun: Instant,
    /// Workers that are killed or stopped, and until when.
    away: Vec<(Step, Instant)>,
    /// Kills a broker, waits, starts it, waits again.
    broker: Option<JoinHandle<()>>,
    past: Vec<Disturbance>,
}

impl<'a> Disturber<'a> {
    pub fn new(setup: &Setup, brokers: &'a Brokers, workers: &'a mut Workers) -> Self {
        let mut script = Script::new(setup.seed, setup.workers);
        Self {
            brokers,
            workers,
            next: script.next().expect("there is always a next one"),
            script,
            last: Instant::now(),
            begun: Instant::now(),
            away: Vec::new(),
            broker: None,
            past: Vec::new(),
        }
    }

    /// Does what is due. The order is kept: what can't be done yet holds back the rest.
    pub fn step(&mut self) {
        self.workers.check();
        let (back, away) = std::mem::take(&mut self.away)
            .into_iter()
            .partition(|(_, until)| Instant::now() >= *until);
        self.away = away;
        self.mend(back);
        if self.broker.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join_broker();
        }
        let due = self.last.elapsed() >= self.next.after;
        let free = match self.next.kind {
            Kind::BrokerKilled => self.broker.is_none(),
            _ => self.away.iter().all(|(step, _)| step.target != self.next.target),
        };
        if due && free {
            let next = self.script.next().expect("there is always a next one");
            let step = std::mem::replace(&mut self.next, next);
            self.disturb(step);
        }
    }

    fn disturb(&mut self, step: Step) {
        let Step { kind, target, away, .. } = step;
        println!(
            "{:4} s: {kind} {target}, for {:.1} s",
            self.begun.elapsed().as_secs(),
            away.as_secs_f64()
        );
        self.last = Instant::now();
        self.past.push(Disturbance { kind, at: self.last });
        match kind {
            Kind::WorkerKilled => self.workers.kill(target),
            Kind::WorkerStopped => self.workers.pause(target),
            Kind::BrokerKilled => {
                let brokers = self.brokers.clone();
                brokers.kill(target);
                let outage = move || {
                    thread::sleep(away);
                    brokers.start(target);
                    thread::sleep(BROKER_CATCHES_UP);
                };
                self.broker = Some(thread::spawn(outage));
                return;
            }
        }
        self.away.push((step, self.last + away));
    }

    fn mend(&mut self, steps: Vec<(Step, Instant)>) {
        for (Step { kind, target, .. }, _) in steps {
            match kind {
                Kind::WorkerKilled => self.workers.restart(target),
                _ => self.workers.resume(target),
            }
        }
    }

    fn join_broker(&mut self) {
        if let Some(outage) = self.broker.take() {
            outage.join().expect("the broker is back");
        }
    }

    /// Mends everything, and says what went wrong.
    pub fn heal(mut self) -> Vec<Disturbance> {
        let away = std::mem::take(&mut self.away);
        self.mend(away);
        self.join_broker();
        self.past
    }
}

#[test]
fn the_seed_gives_the_order_again_and_every_kind_comes_in_every_round() {
    let script: Vec<Step> = Script::new(5, 3).take(30).collect();
    assert_eq!(script, Script::new(5, 3).take(30).collect::<Vec<_>>());
    assert_ne!(script, Script::new(6, 3).take(30).collect::<Vec<_>>());
    for round in script.chunks(3) {
        let mut kinds: Vec<Kind> = round.iter().map(|step| step.kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, KINDS);
    }
}
