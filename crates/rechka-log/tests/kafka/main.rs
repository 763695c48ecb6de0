//! The log on Kafka keeps the contract, on real brokers: `RECHKA_KAFKA` says where (`cargo xtask kafka up` starts some).
//! Without it, these tests say that they are skipped, and pass.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod connecting;
mod foreign;
mod security;
mod topics;

use std::time::Duration;

use rechka_log::{KafkaLog, Log, conformance::Subject};

/// How long a member may go without a poll.
const MAX_POLL: &str = "max.poll.interval.ms=6000";

/// The location of the cluster with these settings; none: skip the test.
fn location(settings: &str) -> Option<String> {
    let Ok(bootstrap) = std::env::var("RECHKA_KAFKA") else {
        println!("skipped: RECHKA_KAFKA does not say where brokers are (cargo xtask kafka up)");
        return None;
    };
    Some(format!("kafka://{bootstrap}?{settings}"))
}

fn open(location: &str) -> KafkaLog {
    KafkaLog::open(&location.parse().unwrap()).unwrap()
}

struct Kafka {
    log: Option<KafkaLog>,
    location: String,
}

impl Subject for Kafka {
    fn log(&self) -> &dyn Log {
        self.log.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.log = None;
        self.log = Some(open(&self.location));
    }

    fn clean(&self) {
        std::thread::sleep(Duration::from_millis(200));
    }

    fn compacts_soon(&self) -> bool {
        // Kafka does not compact the segment that is written to.
        false
    }

    fn deletes_batches(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

fn kafka() -> Option<Kafka> {
    let location = location(MAX_POLL)?;
    Some(Kafka {
        log: Some(open(&location)),
        location,
    })
}

rechka_log::conformance_tests!(match kafka() {
    Some(kafka) => kafka,
    None => return,
});
