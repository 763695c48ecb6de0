//! How a query is run.
use std::{
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use rechka_log::Worker;

use crate::{Delivery, Failpoint, NewOperator, Speech, operators};

/// How far the input is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Until the query is stopped.
    #[default]
    ForEver,
    /// To where the streams end when the query is started; then everything that waits for time is put out. Windows that were closed
    /// so stay closed: a query that has some can't take more rows afterwards, and says so; others can.
    ToTheEnd,
}

/// Whether the state of other processes' partitions is kept too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standbys {
    /// No: whoever takes a partition over reads its whole state from the log.
    #[default]
    None,
    /// One process more keeps a copy of each partition's state, which costs as much memory as the state, and the work of following
    /// its changes.
    One,
}

/// How a query is run. The defaults suit a live query.
#[derive(Clone)]
pub struct RunOptions {
    /// What a crash may do to the output.
    pub delivery: Delivery,
    /// Length of an epoch: results come so often, each time in one transaction.
    pub epoch: Duration,
    /// Threads for each stage, at most; no more than it has partitions.
    pub parallelism: u32,
    /// The process, as the groups of the query know it.
    pub worker: Worker,
    /// Whether the state of partitions is kept that this process would be given if another one died, so that it goes on at once.
    pub standbys: Standbys,
    /// How far the input is read.
    pub reading: Reading,
    /// How often in a row, without a committed epoch between, tasks may fail before the query gives up; none: it never does.
    pub attempts: Option<u32>,
    /// The pause before a task that failed starts again; doubled with each failure up to 10 s.
    pub restart_delay: Duration,
    /// Bytes of changes of a task's state before the whole state is written instead.
    pub snapshot_bytes: usize,
    /// How often what an exchange has brought is deleted.
    pub purge: Duration,
    /// The wall clock, in microseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Makes the operators.
    pub new_operator: NewOperator,
    /// What speech is recognised with.
    pub speech: Speech,
    /// Where tests interrupt the tasks.
    pub failpoint: Failpoint,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            delivery: Delivery::default(),
            epoch: Duration::from_millis(100),
            parallelism: thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
            worker: Worker::unnamed(),
            standbys: Standbys::default(),
            reading: Reading::default(),
            attempts: None,
            restart_delay: Duration::from_millis(200),
            snapshot_bytes: 4 << 20,
            purge: Duration::from_secs(10),
            clock: Arc::new(now),
            new_operator: Arc::new(operators::build_node),
            speech: Speech::default(),
            failpoint: Failpoint::default(),
        }
    }
}

impl RunOptions {
    /// Reads what is stored and ends, as fast as it can; gives up if that fails.
    pub fn to_the_end() -> Self {
        RunOptions {
            reading: Reading::ToTheEnd,
            attempts: Some(3),
            ..RunOptions::default()
        }
    }
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
}
