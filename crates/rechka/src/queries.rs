//! Queries that run for ever, and how they go.
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, Result};
use rechka_engine::{Metrics, RunOptions, RunningQuery, Statistics, TaskStatistics};
use rechka_log::{Append, BatchBuilder, Cleanup, Log, TopicPartition, TopicSpec};
use rechka_serve::Probe;
use rechka_sql::{
    Pipeline, Running,
    plan::{Query, Source},
};
use rechka_types::topics::STATUS;
use serde::{Deserialize, Serialize};

/// The queries of a pipeline, running.
pub struct Queries {
    log: Arc<dyn Log>,
    /// Whoever asks how they go may have to wait for the log, and nobody else with them.
    running: RwLock<Vec<(RunningQuery, Query)>>,
}

/// How a query goes, summed over its tasks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueryStatus {
    /// Its name.
    pub query: String,
    /// Number of its tasks.
    pub tasks: usize,
    /// Records read, of streams and tables.
    pub records_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Rows that came too late.
    pub late: u64,
    /// Records that went to the dead letters.
    pub dead: u64,
    /// Records that wait.
    pub lag: u64,
    /// The least watermark of the last stage, in milliseconds since 1970, if there is one.
    pub watermark: Option<i64>,
    /// Memory of the state, in bytes.
    pub state_bytes: usize,
    /// The longest last epoch of a task, in milliseconds.
    pub epoch_ms: f64,
    /// How often tasks failed.
    pub restarts: u64,
    /// Why one failed last.
    pub error: Option<String>,
    /// Copies of the state of others' partitions that are kept warm.
    #[serde(default)]
    pub standbys: usize,
    /// Memory of these, in bytes.
    #[serde(default)]
    pub standby_bytes: usize,
}

impl QueryStatus {
    /// Sums it up.
    pub fn new(query: &Query, statistics: &Statistics) -> Self {
        let tasks = &statistics.tasks;
        // What comes through an exchange has been counted before it.
        let read = tasks.iter().filter(|task| !reads_exchange(query, task.stage));
        let sum = |of: fn(&TaskStatistics) -> u64| tasks.iter().map(of).sum();
        let last = tasks.iter().map(|task| task.stage).max();
        let watermarks = tasks
            .iter()
            .filter(|task| Some(task.stage) == last)
            .map(|task| task.watermark);
        Self {
            query: statistics.query.to_string(),
            tasks: tasks.len(),
            records_in: read.map(|task| task.records_in).sum(),
            rows_out: tasks
                .iter()
                .filter(|task| Some(task.stage) == last)
                .map(|task| task.rows_out)
                .sum(),
            late: sum(|task| task.late),
            dead: sum(|task| task.dead),
            lag: statistics.lag(),
            watermark: watermarks
                .min()
                .filter(|micros| ![i64::MIN, i64::MAX].contains(micros))
                .map(|micros| micros / 1000),
            state_bytes: tasks.iter().map(|task| task.state_bytes).sum(),
            epoch_ms: tasks
                .iter()
                .map(|task| task.epoch)
                .max()
                .unwrap_or(Duration::ZERO)
                .as_secs_f64()
                * 1e3,
            restarts: statistics.restarts,
            error: statistics.error.clone(),
            standbys: statistics.standbys.len(),
            standby_bytes: statistics.standbys.iter().map(|standby| standby.state_bytes).sum(),
        }
    }
}

fn reads_exchange(query: &Query, stage: usize) -> bool {
    let mut inputs = query.stages.get(stage).into_iter().flat_map(|stage| &stage.inputs);
    inputs.any(|input| matches!(input.source, Source::Exchange(_)))
}

impl Queries {
    /// Starts all queries of a pipeline. `options`: for each, by the delivery that it asks for.
    pub fn start(log: &Arc<dyn Log>, pipeline: &Pipeline, options: impl Fn(&Running) -> RunOptions) -> Result<Self> {
        let start = |running: &Running| {
            let query = running.query.clone();
            rechka_engine::run(Arc::clone(log), query.clone(), options(running))
                .with_context(|| format!("starting {}", query.name))
                .map(|running| (running, query))
        };
        let running = pipeline.running.iter().map(start).collect::<Result<_>>()?;
        Ok(Self {
            log: Arc::clone(log),
            running: RwLock::new(running),
        })
    }

    /// How they go.
    pub fn status(&self) -> Vec<QueryStatus> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .map(|(running, query)| QueryStatus::new(query, &running.statistics()))
            .collect()
    }

    /// Tells it in the log, for `rechka status`, if the log can be used now.
    pub fn publish(&self, status: &[QueryStatus]) -> Result<()> {
        let mut batch = BatchBuilder::new();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_millis();
        for status in status {
            batch.push(
                Some(status.query.as_bytes()),
                &serde_json::to_vec(status)?,
                now as i64,
                &[],
            )?;
        }
        if !status.is_empty() && self.log.ready().is_ok() {
            let append = Append {
                to: TopicPartition::new(STATUS, 0),
                batch: batch.finish(),
            };
            self.log.append(vec![append])?.wait()?;
        }
        Ok(())
    }

    /// Makes the topic that [`Queries::publish`] writes.
    pub fn create_status_topic(log: &dyn Log) -> Result<()> {
        Ok(log.create_topic(&TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(STATUS, 1)
        })?)
    }

    /// What the first of them counts that recognises speech.
    pub fn recognition(&self) -> Option<Arc<Metrics>> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.iter().find_map(|(running, _)| running.recognition().cloned())
    }

    /// What all of them count that recognise speech: the query, its counts, and whether it can work.
    fn recognitions(&self) -> Vec<(Arc<str>, Arc<Metrics>, bool)> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let recognition = |(running, query): &(RunningQuery, Query)| {
            let up = running.is_running() && running.trouble().is_none();
            Some((Arc::clone(&query.name), Arc::clone(running.recognition()?), up))
        };
        running.iter().filter_map(recognition).collect()
    }

    /// Whether one of them has ended because another process has the worker's name.
    pub fn are_refused(&self) -> bool {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.iter().any(|(running, _)| running.is_refused())
    }

    /// Whether any of them still runs.
    pub fn is_running(&self) -> bool {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.iter().any(|(running, _)| running.is_running())
    }

    /// Stops them all after their current epochs; says what ended one before.
    pub fn stop(&self) -> Result<()> {
        let running = std::mem::take(&mut *self.running.write().unwrap_or_else(PoisonError::into_inner));
        running
            .into_iter()
            .map(|(running, _)| running.stop())
            .collect::<Result<Vec<()>, _>>()?;
        Ok(())
    }
}

impl Probe for Queries {
    fn name(&self) -> &str {
        "queries"
    }

    fn ready(&self) -> Result<(), String> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let mut troubles = running
            .iter()
            .filter_map(|(running, query)| Some((&query.name, running.trouble()?)));
        match troubles.next() {
            Some((query, why)) => Err(format!("{query}: {why}")),
            None => Ok(()),
        }
    }

    fn metrics(&self, text: &mut String) {
        let status = self.status();
        let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&QueryStatus) -> Option<f64>| {
            text.push_str(&format!(
                "# HELP rechka_query_{name} {help}\n# TYPE rechka_query_{name} {kind}\n"
            ));
            for status in &status {
                if let Some(value) = value(status) {
                    text.push_str(&format!("rechka_query_{name}{{query=\"{}\"}} {value}\n", status.query));
                }
            }
        };
        family("records_total", "counter", "Records read.", &|status| {
            Some(status.records_in as f64)
        });
        family("rows_total", "counter", "Rows written.", &|status| {
            Some(status.rows_out as f64)
        });
        family("late_rows_total", "counter", "Rows that came too late.", &|status| {
            Some(status.late as f64)
        });
        family(
            "dead_records_total",
            "counter",
            "Records that could not be used.",
            &|status| Some(status.dead as f64),
        );
        family("restarts_total", "counter", "Tasks that failed.", &|status| {
            Some(status.restarts as f64)
        });
        family("lag_records", "gauge", "Records that wait.", &|status| {
            Some(status.lag as f64)
        });
        family("state_bytes", "gauge", "Memory of the state.", &|status| {
            Some(status.state_bytes as f64)
        });
        family("standbys", "gauge", "Copies of other workers' state.", &|status| {
            Some(status.standbys as f64)
        });
        family("standby_bytes", "gauge", "Memory of these copies.", &|status| {
            Some(status.standby_bytes as f64)
        });
        family("epoch_seconds", "gauge", "The longest last epoch.", &|status| {
            Some(status.epoch_ms / 1e3)
        });
        family("watermark_seconds", "gauge", "Event time, since 1970.", &|status| {
            status.watermark.map(|millis| millis as f64 / 1e3)
        });
        text.push_str(&Metrics::prometheus(&self.recognitions()));
    }
}
