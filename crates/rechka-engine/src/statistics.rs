//! What running queries count.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rechka_log::{Log, Offset, Partition, TopicPartition};

/// A query as it runs, at one moment.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// The query's name.
    pub query: Arc<str>,
    /// Its tasks, by stage and partition.
    pub tasks: Vec<TaskStatistics>,
    /// The copies of others' state that are kept warm here.
    pub standbys: Vec<StandbyStatistics>,
    /// How often a task failed and was started again.
    pub restarts: u64,
    /// Why a task failed last, until an epoch is committed again; or why the log can't be used now.
    pub error: Option<String>,
}

/// A copy of the state of a task that another process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyStatistics {
    /// The stage, from 0.
    pub stage: usize,
    /// The partition.
    pub partition: Partition,
    /// Memory of the copy, roughly, in bytes.
    pub state_bytes: usize,
    /// The number of the last epoch in it.
    pub epoch: u64,
}

/// A task, since the query was started here. Counts are of committed epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatistics {
    /// The stage, from 0.
    pub stage: usize,
    /// The partition.
    pub partition: Partition,
    /// Records read, of all topics.
    pub records_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Rows that came too late.
    pub late: u64,
    /// Records that went to the dead letters.
    pub dead: u64,
    /// Records that are in the log and not worked off yet.
    pub lag: u64,
    /// The watermark behind the stage, in microseconds since 1970; `i64::MIN`: none yet, `i64::MAX`: the end.
    pub watermark: i64,
    /// Memory of the state, roughly, in bytes.
    pub state_bytes: usize,
    /// Epochs committed.
    pub epochs: u64,
    /// The last epoch, from its first record until it was durable.
    pub epoch: Duration,
}

impl Statistics {
    /// The records that are in the log and not worked off yet.
    pub fn lag(&self) -> u64 {
        self.tasks.iter().map(|task| task.lag).sum()
    }
}

/// What happened in one epoch of a task, and how it was left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub records_in: u64,
    pub rows_out: u64,
    pub late: u64,
    pub dead: u64,
    pub watermark: i64,
    pub state_bytes: usize,
    pub epoch: Duration,
}

/// Counts for all tasks of a query.
pub(crate) struct Meter {
    query: Arc<str>,
    /// The topics of each stage.
    topics: Vec<Vec<Arc<str>>>,
    /// Number of all tasks.
    all: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<(usize, Partition), Task>,
    ended: BTreeSet<(usize, Partition)>,
    /// By stage.
    standbys: BTreeMap<usize, Vec<StandbyStatistics>>,
    /// Threads of stages, by number, that have not got their partitions.
    waiting: BTreeSet<(usize, u32)>,
    restarts: u64,
    /// Failures since the last committed epoch.
    failures: u32,
    error: Option<String>,
}

#[derive(Clone)]
struct Task {
    next: Vec<Offset>,
    statistics: TaskStatistics,
}

impl Meter {
    /// `stages`: the topics of each, and the number of its tasks.
    pub fn new(query: Arc<str>, stages: Vec<(Vec<Arc<str>>, Partition)>) -> Self {
        Meter {
            query,
            all: stages.iter().map(|(_, tasks)| *tasks as usize).sum(),
            topics: stages.into_iter().map(|(topics, _)| topics).collect(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread of a stage joins its group.
    pub fn joins(&self, stage: usize, number: u32) {
        self.lock().waiting.insert((stage, number));
    }

    /// It has got its partitions, be it none, and restored them.
    pub fn settled(&self, stage: usize, number: u32) {
        self.lock().waiting.remove(&(stage, number));
    }

    /// A partition is another's now. What was counted here stays; what waits in it, and its state and time, are no longer ours.
    pub fn revoked(&self, stage: usize, partition: Partition) {
        if let Some(task) = self.lock().tasks.get_mut(&(stage, partition)) {
            task.next.clear();
            task.statistics.lag = 0;
            task.statistics.state_bytes = 0;
            task.statistics.watermark = i64::MAX;
        }
    }

    /// What is kept warm for a stage.
    pub fn standbys(&self, stage: usize, standbys: Vec<StandbyStatistics>) {
        self.lock().standbys.insert(stage, standbys);
    }

    /// An epoch was committed.
    pub fn epoch(&self, stage: usize, partition: Partition, next: &[Offset], counts: Counts) {
        let mut state = self.lock();
        state.error = None;
        state.failures = 0;
        let task = state.tasks.entry((stage, partition)).or_insert_with(|| Task {
            next: Vec::new(),
            statistics: TaskStatistics {
                stage,
                partition,
                records_in: 0,
                rows_out: 0,
                late: 0,
                dead: 0,
                lag: 0,
                watermark: i64::MIN,
                state_bytes: 0,
                epochs: 0,
                epoch: Duration::ZERO,
            },
        });
        task.next = next.to_vec();
        let statistics = &mut task.statistics;
        statistics.records_in += counts.records_in;
        statistics.rows_out += counts.rows_out;
        statistics.late += counts.late;
        statistics.dead += counts.dead;
        statistics.watermark = counts.watermark;
        statistics.state_bytes = counts.state_bytes;
        statistics.epochs += 1;
        statistics.epoch = counts.epoch;
    }

    /// A task has worked its input off to the end. True if all have.
    pub fn ended(&self, stage: usize, partition: Partition) -> bool {
        let mut state = self.lock();
        state.ended.insert((stage, partition));
        state.ended.len() == self.all
    }

    /// Something went wrong.
    pub fn failed(&self, error: String) {
        self.lock().error = Some(error);
    }

    /// A task has to be started again; gives the number of failures since the last committed epoch, and whether the last was the same.
    pub fn restarts(&self, error: String) -> (u32, bool) {
        let mut state = self.lock();
        let told = state.error.replace(error) == state.error;
        state.restarts += 1;
        state.failures += 1;
        (state.failures, told)
    }

    /// How things are now.
    pub fn statistics(&self, log: &dyn Log) -> Statistics {
        let silent = log.ready().err();
        // A log that does not answer is not asked: the last answer stands. No task waits for the answer.
        let lags = match silent {
            None => self.lags(log),
            Some(_) => Vec::new(),
        };
        let mut state = self.lock();
        for (task, lag) in lags {
            if let Some(task) = state.tasks.get_mut(&task) {
                task.statistics.lag = lag;
            }
        }
        Statistics {
            query: self.query.clone(),
            tasks: state.tasks.values().map(|task| task.statistics.clone()).collect(),
            standbys: state.standbys.values().flatten().cloned().collect(),
            restarts: state.restarts,
            error: silent.map(|error| error.to_string()).or_else(|| state.error.clone()),
        }
    }

    /// Why the query can't do its work here now.
    pub fn trouble(&self, log: &dyn Log) -> Option<String> {
        if let Err(silent) = log.ready() {
            return Some(silent.to_string());
        }
        let state = self.lock();
        let waits = || "it waits for its partitions, or restores them".to_owned();
        state.error.clone().or_else(|| (!state.waiting.is_empty()).then(waits))
    }

    /// How many records wait for each task, where the log says it.
    fn lags(&self, log: &dyn Log) -> Vec<((usize, Partition), u64)> {
        let tasks: Vec<_> = {
            let state = self.lock();
            state
                .tasks
                .iter()
                .map(|(task, own)| (*task, own.next.clone()))
                .collect()
        };
        let lag = |((stage, partition), next): ((usize, Partition), Vec<Offset>)| {
            let mut behind = 0;
            for (topic, next) in self.topics[stage].iter().zip(next) {
                log.ready().ok()?;
                let offsets = log.offsets(&TopicPartition::new(topic.clone(), partition)).ok()?;
                behind += offsets.end.saturating_sub(next);
            }
            Some(((stage, partition), behind))
        };
        tasks.into_iter().filter_map(lag).collect()
    }
}
