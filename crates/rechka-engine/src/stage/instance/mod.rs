//! One partition of a stage.
mod intake;
mod restore;
mod time;

use std::time::Instant;

use arrow::array::RecordBatch;
use rechka_log::{Append, Offset, Partition};

use super::{
    changelog::{Changelog, Progress},
    context::{self, StageContext},
    dag::Dag,
    dead::DeadLetters,
    table::TableReader,
    watermark::Watermark,
};
use crate::{Result, operators::Output, statistics::Counts};

/// The state of one task.
pub(super) struct Instance {
    pub partition: Partition,
    dag: Dag,
    /// As of what was pushed.
    progress: Progress,
    tables: Vec<(usize, TableReader)>,
    changelog: Option<Changelog>,
    dead: DeadLetters,
    /// When each input last brought records, or was found idle.
    heard: Vec<Instant>,
    /// The wall clock of the epoch, in microseconds.
    now: i64,
    /// When the epoch began, if it has.
    began: Option<Instant>,
    /// Whether everything in the log has been pushed.
    caught_up: bool,
    /// What the inputs said when the last epoch ended; none if none has since this task has the partition.
    said: Option<Vec<Watermark>>,
    /// The watermark of the output that was last written.
    announced: Option<Watermark>,
    /// Whether the input is worked off to its end.
    ended: bool,
    counts: Counts,
}

/// What an epoch made.
pub(super) struct Ended {
    pub output: Output,
    /// The watermark of the output, and whether it is to be said to the next stage.
    pub watermark: Watermark,
    pub advanced: bool,
    /// What other queries are told: of a run to the end what was known without its end, for that is not the end of its result.
    pub told: i64,
    pub state: Vec<Append>,
    /// The wall clock of the epoch, in milliseconds.
    pub now: i64,
}

impl Instance {
    /// Everything in the log has been pushed.
    pub fn caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Whether the input is worked off to its end.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Ends the epoch; `None` if there is nothing to end.
    pub fn end_epoch(&mut self, context: &StageContext) -> Result<Option<Ended>> {
        let mut pushed = self.began.is_some();
        if !pushed {
            self.now = self.now.max((context.clock)());
            pushed = self.read_tables()?;
        }
        let idle = self.look_for_idle_inputs(context)?;
        let said = self.time(context);
        let advanced = self.said.as_ref() != Some(&said);
        if !pushed && !idle && !advanced && !context.processing_time {
            return Ok(None);
        }
        self.began.get_or_insert_with(Instant::now);
        let endless = self.dag.watermark(&self.endless_time(context));
        let watermark = self.dag.end_epoch(&said, self.now)?;
        self.bury_all()?;
        self.progress.nodes = self.dag.watermarks();
        if self.caught_up && !self.is_idle() {
            self.dag.lag_behind(false);
        }
        self.ended = said.iter().all(|said| *said == Watermark::END);
        self.said = Some(said);
        let again = watermark.idle && (pushed || idle);
        let new = again || self.announced != Some(watermark);
        let before = self.announced.replace(watermark);
        let mut known = [Some(endless), before].into_iter().flatten();
        let told = known.find(|known| *known != Watermark::END);
        let output = self.dag.take_output();
        self.count(&output, watermark);
        let now = self.now.div_euclid(1000);
        Ok(Some(Ended {
            output,
            watermark,
            advanced: new && watermark != Watermark::UNKNOWN,
            told: told.unwrap_or(Watermark::UNKNOWN).micros,
            state: self.changes(context, pushed || advanced, now)?,
            now,
        }))
    }

    /// What the epoch did to the state.
    fn changes(&mut self, context: &StageContext, worth_it: bool, now: i64) -> Result<Vec<Append>> {
        let mut deltas = self.dag.take_delta()?;
        let Some(changelog) = &mut self.changelog else {
            return Ok(Vec::new());
        };
        if deltas.is_empty() && !worth_it {
            return Ok(Vec::new());
        }
        let snapshot = changelog.wants_snapshot();
        if snapshot {
            deltas = self.dag.snapshot()?;
        }
        self.progress.epoch += 1;
        self.progress.tables = self.tables.iter().map(|(_, table)| table.next().to_vec()).collect();
        changelog.append(&*context.log, self.progress.clone(), &deltas, snapshot, now)
    }

    fn count(&mut self, output: &Output, watermark: Watermark) {
        let rows = |batches: &[RecordBatch]| batches.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
        self.counts.rows_out += rows(&output.rows);
        self.counts.late += rows(&output.late);
        self.counts.watermark = watermark.micros;
        self.counts.state_bytes = self.dag.state_bytes();
    }

    /// The epoch is durable; gives what happened in it.
    pub fn committed(&mut self, context: &StageContext) -> Option<Counts> {
        if let Some(changelog) = &mut self.changelog {
            context::kept_longer(changelog.committed(&*context.log));
        }
        let began = self.began.take()?;
        let counts = Counts {
            watermark: self.counts.watermark,
            ..Counts::default()
        };
        let counts = std::mem::replace(&mut self.counts, counts);
        Some(Counts {
            epoch: began.elapsed(),
            ..counts
        })
    }

    /// The next offset of each topic.
    pub fn offsets(&self) -> &[Offset] {
        &self.progress.offsets
    }

    /// Bytes of output that wait for the end of the epoch.
    pub fn output_bytes(&self) -> usize {
        self.dag.output_bytes()
    }
}
