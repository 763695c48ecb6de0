//! Chaos: people speak and events come at a steady pace, while at random moments a worker is killed, or stopped until its group has
//! given it up, or a broker is killed. The seed that is printed gives the order again. In the end everything must be as if nothing
//! had happened: transcripts byte for byte as on an undisturbed log, counts as arithmetic says, nothing twice, late or dead.
//!
//! `cargo xtask chaos --minutes 10` starts a cluster and sets the variables of [`Setup`]. No part of the test command yet: a partition
//! that stands still after an outage, which was seen on an overloaded machine, is not understood.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod brokers;
mod difference;
mod disturbances;
mod events;
mod pipeline;
mod records;
mod report;
mod setup;
mod silence;
mod speech;
mod verdict;
mod workers;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use brokers::Brokers;
use disturbances::Disturber;
use events::Events;
use pipeline::Pipeline;
use rechka_log::{KafkaLog, Log};
use setup::Setup;
use silence::Watch;
use speech::Speech;
use verdict::Expected;
use workers::Workers;

/// Before the first disturbance the workers may start and share the partitions out.
const SETTLING: Duration = Duration::from_secs(60);
/// How often it is said how the run goes.
const TELL: Duration = Duration::from_secs(10);

#[test]
#[ignore = "a partition may stand still after an outage: cargo xtask chaos"]
fn transcripts_and_counts_are_exact_while_workers_and_brokers_die() {
    let Some(brokers) = Brokers::of_environment() else {
        return;
    };
    let setup = Setup::of_environment();
    println!("chaos: {setup}");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();

    let pipeline = Pipeline::new(&folder);
    let (events, speech) = (Events::new(&setup, &pipeline), Speech::new(&setup, &pipeline));
    let expected = Expected::new(&setup, &pipeline, &events, &speech, &folder);
    let location = format!("kafka://{}", brokers.bootstrap);
    let mut workers = Workers::start(&setup, &pipeline, &location, &folder);
    // More patient than the longest outage: what was not acknowledged ends the test.
    let patient = format!("{location}?default.api.timeout.ms=120000");
    let log: Arc<dyn Log> = Arc::new(KafkaLog::open(&patient.parse().unwrap()).unwrap());
    pipeline.create_topics(&*log);

    let stop = AtomicBool::new(false);
    let (watch, disturbances) = thread::scope(|scope| {
        let _stop = StopWhenDropped(&stop);
        let begun = Instant::now();
        let fed = scope.spawn(|| events.feed(&*log, &stop));
        let spoken = scope.spawn(|| speech.feed(&*log, &stop));
        let watch = Watch::start(scope, Arc::clone(&log), pipeline.totals(), &stop);
        watch.wait_for_all(SETTLING);
        let mut disturber = Disturber::new(&setup, &brokers, &mut workers);
        let mut told = Instant::now();
        while begun.elapsed() < setup.duration && !fed.is_finished() && !spoken.is_finished() {
            disturber.step();
            thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= TELL {
                told = Instant::now();
                println!(
                    "{:4} s: {} events, {} s of speech each",
                    begun.elapsed().as_secs(),
                    events.sent(),
                    speech.spoken()
                );
            }
        }
        let disturbances = disturber.heal();
        // The disturbances are over before what is fed: what comes at the end is as it was at the beginning.
        fed.join().expect("all events are acknowledged");
        spoken.join().expect("all speech is acknowledged");
        stop.store(true, Ordering::Relaxed);
        (watch.join(), disturbances)
    });
    let verdict = expected.wait_for(&*log, &pipeline);
    drop(workers);
    report::print(&disturbances, &watch);
    if let Err(differences) = verdict {
        panic!("seed {}: {differences}", setup.seed);
    }
}

/// Ends the threads however the test ends.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
