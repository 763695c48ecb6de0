//! One partition of a stage.
use std::{ops::Range, time::Instant};

use arrow::array::RecordBatch;
use rechka_formats::Bad;
use rechka_log::{Append, Fetched, Offset, Partition, TopicPartition};
use rechka_sql::plan::Source;

use super::{
    changelog::{Changelog, Progress},
    context::StageContext,
    dag::{Dag, LeftOut},
    dead::DeadLetters,
    exchange::{self, Message},
    file,
    source::StreamSource,
    table::{self, News, TableReader},
    watermark::Watermark,
};
use crate::{
    EngineError, Result,
    operators::{Dead, Output},
    statistics::Counts,
};

/// The state of one task.
pub(super) struct Instance {
    pub partition: Partition,
    dag: Dag,
    /// As of what was pushed.
    progress: Progress,
    tables: Vec<(usize, TableReader)>,
    changelog: Option<Changelog>,
    dead: DeadLetters,
    /// When each input last brought records.
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
    /// The watermark of the output, and whether it is new.
    pub watermark: Watermark,
    pub advanced: bool,
    pub state: Vec<Append>,
    /// The wall clock of the epoch, in milliseconds.
    pub now: i64,
}

impl Instance {
    /// Restores what the last committed epoch left; `next` are the offsets that it committed.
    pub fn restore(context: &StageContext, partition: Partition, next: &[Offset]) -> Result<Self> {
        let stage = context.stage();
        let new_dag = || Dag::new(&context.query, stage, &context.new_operator);
        let mut dag = new_dag()?;
        let mut last: Option<Progress> = None;
        let mut changelog = None;
        if let Some(topic) = &context.state {
            let name = TopicPartition::new(topic.clone(), partition);
            let mut reading = Changelog::new(name, context.fingerprint, context.snapshot_bytes);
            reading.read(&*context.log, |entry| {
                if entry.fingerprint != context.fingerprint {
                    return Err(context.unfit("its text has been changed since".to_owned()));
                }
                if entry.snapshot {
                    dag = new_dag()?;
                }
                for (node, delta) in &entry.deltas {
                    dag.restore(*node, delta)?;
                }
                last = Some(entry.progress);
                Ok(())
            })?;
            Self::check_offsets(context, last.as_ref(), partition, next)?;
            changelog = Some(reading);
        }
        let mut progress = last.unwrap_or_default();
        progress.offsets = next.to_vec();
        let unknown = |sources: &usize| vec![Watermark::UNKNOWN; *sources];
        if progress.inputs.is_empty() {
            progress.inputs = context.sources.iter().map(unknown).collect();
        }
        progress.told.resize(context.sources.len(), false);
        for (topic, (name, inputs)) in context.topics.iter().enumerate() {
            // What had ended in an earlier run may go on in this one.
            if next[topic] <= context.begin(name, partition) {
                for &input in inputs {
                    let ended = progress.inputs[input]
                        .iter_mut()
                        .filter(|source| **source == Watermark::END);
                    ended.for_each(|source| *source = Watermark::UNKNOWN);
                }
            }
        }
        dag.set_watermarks(&progress.nodes);
        let mut instance = Instance {
            partition,
            dag,
            progress,
            tables: Vec::new(),
            changelog,
            dead: DeadLetters::new(&context.query),
            heard: vec![Instant::now(); stage.inputs.len()],
            now: (context.clock)(),
            began: None,
            caught_up: false,
            said: None,
            announced: None,
            ended: false,
            counts: Counts::default(),
        };
        instance.load_tables(context)?;
        Ok(instance)
    }

    /// The state must be of the offsets from which the group goes on.
    fn check_offsets(
        context: &StageContext,
        last: Option<&Progress>,
        partition: Partition,
        next: &[Offset],
    ) -> Result<()> {
        for (number, ((topic, _), &next)) in context.topics.iter().zip(next).enumerate() {
            let name = TopicPartition::new(topic.clone(), partition);
            let start = context.log.offsets(&name)?.start;
            let reason = match last.and_then(|last| last.offsets.get(number)) {
                None if next == start => continue,
                None => format!("it has read {topic:?} up to offset {next}, and kept nothing of that"),
                Some(&kept) if kept == next => continue,
                // What was not read yet has been deleted meanwhile.
                Some(&kept) if kept < next && next == start => continue,
                Some(kept) => format!("its state is of offset {kept} of {topic:?}, and it has read up to {next}"),
            };
            return Err(context.unfit(reason));
        }
        Ok(())
    }

    /// Reads the tables, as far as the state does not have them.
    fn load_tables(&mut self, context: &StageContext) -> Result<()> {
        let known = std::mem::take(&mut self.progress.files);
        for (number, input) in context.stage().inputs.iter().enumerate() {
            if let Source::Table(relation) = &input.source {
                if let Some(path) = &relation.file {
                    let fingerprint = file::fingerprint(path)?;
                    if known.get(self.progress.files.len()) != Some(&fingerprint) {
                        for rows in file::read(path, &input.schema)? {
                            self.dag.push(number, table::upserts(rows, input)?, self.now)?;
                        }
                    }
                    self.progress.files.push(fingerprint);
                    continue;
                }
                let next = self
                    .progress
                    .tables
                    .get(self.tables.len())
                    .map_or(&[][..], Vec::as_slice);
                let mut table = TableReader::open(&*context.log, relation, input, next)?;
                table.read_all(|news| self.take(number, news))?;
                self.tables.push((number, table));
            }
        }
        self.bury_all()
    }

    /// Takes records of a topic. `sources` decode the declared streams, by input.
    pub fn push(
        &mut self,
        context: &StageContext,
        sources: &mut [Option<StreamSource>],
        topic: usize,
        fetched: &Fetched,
    ) -> Result<()> {
        if self.began.is_none() {
            self.begin(context)?;
        }
        self.caught_up = false;
        let mut bad = Vec::new();
        for &input in &context.topics[topic].1 {
            self.heard[input] = Instant::now();
            match &mut sources[input] {
                Some(source) => {
                    let decoded = source.decode(fetched, self.now)?;
                    let told = source.announced(fetched, self.now);
                    self.progress.told[input] |= told.is_some();
                    let guessed = match self.progress.told[input] {
                        true => i64::MIN,
                        false => decoded.guessed(source.event_time()),
                    };
                    if told.is_some() || decoded.latest.is_some() {
                        let micros = told.unwrap_or(guessed);
                        self.progress.inputs[input][0].advance(Watermark { micros, idle: false });
                    }
                    self.dag.push(input, decoded.rows, self.now)?;
                    self.blame_records(source, fetched.batch.len(), &decoded.bad, &mut bad)?;
                    bad.extend(decoded.bad);
                }
                None => {
                    self.push_exchanged(context, input, fetched)?;
                    self.bury_all()?;
                }
            }
        }
        // Several inputs may read the record, and each may find fault with it.
        bad.sort_by_key(|bad| bad.record);
        bad.dedup_by_key(|bad| bad.record);
        self.dead.push(fetched, &bad)?;
        self.counts.dead += bad.len() as u64;
        self.counts.records_in += fetched.batch.len() as u64;
        self.progress.offsets[topic] = fetched.next_offset();
        Ok(())
    }

    /// Finds the records of rows that were left out. `decoded`: those that are bad already, of so many.
    fn blame_records(
        &mut self,
        source: &StreamSource,
        records: usize,
        decoded: &[Bad],
        bad: &mut Vec<Bad>,
    ) -> Result<()> {
        let left_out = self.dag.take_left_out();
        if left_out.is_empty() {
            return Ok(());
        }
        let records = source.records(records, decoded).unwrap_or_default();
        for LeftOut { dead, of } in left_out {
            match of.and_then(|row| records.get(row)) {
                Some(&record) => bad.push(Bad {
                    record,
                    reason: dead.reason,
                }),
                None => self.bury(&dead)?,
            }
        }
        Ok(())
    }

    /// Brings rows that were left out, and are made of no one record, to the dead letters.
    fn bury_all(&mut self) -> Result<()> {
        let left_out = self.dag.take_left_out();
        left_out.iter().try_for_each(|LeftOut { dead, .. }| self.bury(dead))
    }

    fn bury(&mut self, dead: &Dead) -> Result<()> {
        self.counts.dead += 1;
        self.dead.push_row(self.partition, dead, self.now.div_euclid(1000))
    }

    /// The dead letters of the epoch that has ended; with them rows that were too large to be written.
    pub fn dead_letters(&mut self, too_large: &[Dead]) -> Result<Vec<Append>> {
        too_large.iter().try_for_each(|dead| self.bury(dead))?;
        Ok(self.dead.take())
    }

    /// Passes over records of a topic that are damaged.
    pub fn lost(
        &mut self,
        context: &StageContext,
        topic: usize,
        from: &TopicPartition,
        offsets: &Range<Offset>,
        reason: &str,
    ) -> Result<()> {
        if self.began.is_none() {
            self.begin(context)?;
        }
        self.dead.lost(from, offsets, reason, self.now / 1000)?;
        self.counts.dead += offsets.end - offsets.start;
        self.progress.offsets[topic] = offsets.end;
        Ok(())
    }

    fn push_exchanged(&mut self, context: &StageContext, input: usize, fetched: &Fetched) -> Result<()> {
        let begin = context.begin(&fetched.from.topic, self.partition);
        for (offset, message) in (fetched.base_offset..).zip(exchange::read(fetched)) {
            match message? {
                Message::Rows(rows) => self.dag.push(input, rows, self.now)?,
                Message::Watermark { watermark, .. } if watermark == Watermark::END && offset < begin => {}
                Message::Watermark { task, watermark } => {
                    let known = self.progress.inputs[input].get_mut(task);
                    let stranger = || EngineError::State {
                        topic: fetched.from.to_string(),
                        key: format!("upstream task {task}"),
                        reason: "the stage before had fewer tasks when this query began".into(),
                    };
                    known.ok_or_else(stranger)?.advance(watermark);
                }
            }
        }
        Ok(())
    }

    /// Begins an epoch: reads the clock, and what is new in the tables.
    fn begin(&mut self, context: &StageContext) -> Result<()> {
        self.began = Some(Instant::now());
        self.now = self.now.max((context.clock)());
        self.read_tables()
    }

    fn read_tables(&mut self) -> Result<()> {
        let mut all = Vec::new();
        for (input, table) in &mut self.tables {
            all.extend(table.read_new()?.into_iter().map(|news| (*input, news)));
        }
        all.into_iter().try_for_each(|(input, news)| self.take(input, news))?;
        self.bury_all()
    }

    /// Takes what comes of a table. All tasks read it, and the first says what can't be used of it.
    fn take(&mut self, input: usize, news: News) -> Result<()> {
        match news {
            News::Rows(rows) => self.dag.push(input, rows, self.now)?,
            News::Bad(fetched, bad) if self.partition == 0 => {
                self.dead.push(&fetched, &bad)?;
                self.counts.dead += bad.len() as u64;
            }
            News::Lost { from, offsets, reason } if self.partition == 0 => {
                self.dead.lost(&from, &offsets, &reason, self.now.div_euclid(1000))?;
                self.counts.dead += offsets.end - offsets.start;
            }
            News::Bad(..) | News::Lost { .. } => {}
        }
        Ok(())
    }

    /// Everything in the log has been pushed.
    pub fn caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Whether the end of the input has been read, and the epoch that works it off is to come.
    pub fn is_at_end(&self, context: &StageContext) -> bool {
        context.ends.is_some() && !self.ended && self.time(context).iter().all(|said| *said == Watermark::END)
    }

    /// Whether the input is worked off to its end.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// What each input says about time now. Tables have no time, and hold nobody up.
    fn time(&self, context: &StageContext) -> Vec<Watermark> {
        let mut said = vec![Watermark::END; context.sources.len()];
        for (topic, (_, inputs)) in context.topics.iter().enumerate() {
            for &input in inputs {
                let sources = self.progress.inputs[input].iter().copied();
                said[input] = Watermark::combine(sources);
                if let Some(end) = context.end(topic, self.partition)
                    && (self.progress.offsets[topic] >= end || self.caught_up)
                {
                    said[input] = Watermark::END;
                }
            }
        }
        said
    }

    /// Marks the streams idle that have been silent for as long as they say.
    fn look_for_idle_inputs(&mut self, context: &StageContext) -> Result<()> {
        if context.ends.is_some() {
            return Ok(());
        }
        for (topic, (name, inputs)) in context.topics.iter().enumerate() {
            for &input in inputs {
                let declared = &context.stage().inputs[input];
                let idle = declared.event_time.as_ref().and_then(|time| time.idle);
                let (Source::Stream(_), Some(idle)) = (&declared.source, idle) else {
                    continue;
                };
                if self.progress.inputs[input][0].idle || self.heard[input].elapsed() < idle {
                    continue;
                }
                let name = TopicPartition::new(name.clone(), self.partition);
                let end = context.log.offsets(&name)?.end;
                self.progress.inputs[input][0].idle = self.caught_up || self.progress.offsets[topic] >= end;
            }
        }
        Ok(())
    }

    /// Ends the epoch; `None` if there is nothing to end.
    pub fn end_epoch(&mut self, context: &StageContext) -> Result<Option<Ended>> {
        let pushed = self.began.is_some();
        if !pushed {
            self.now = self.now.max((context.clock)());
            self.read_tables()?;
        }
        self.look_for_idle_inputs(context)?;
        let said = self.time(context);
        let advanced = self.said.as_ref() != Some(&said);
        if !pushed && !advanced && !context.processing_time {
            return Ok(None);
        }
        self.began.get_or_insert_with(Instant::now);
        let watermark = self.dag.end_epoch(&said, self.now)?;
        self.bury_all()?;
        self.progress.nodes = self.dag.watermarks();
        self.ended = said.iter().all(|said| *said == Watermark::END);
        self.said = Some(said);
        let new = self.announced != Some(watermark) && watermark != Watermark::UNKNOWN;
        self.announced = Some(watermark);
        let output = self.dag.take_output();
        self.count(&output, watermark);
        let now = self.now.div_euclid(1000);
        Ok(Some(Ended {
            output,
            watermark,
            advanced: new,
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
    pub fn committed(&mut self, context: &StageContext) -> Result<Option<Counts>> {
        if let Some(changelog) = &mut self.changelog {
            changelog.committed(&*context.log)?;
        }
        let Some(began) = self.began.take() else {
            return Ok(None);
        };
        let counts = Counts {
            watermark: self.counts.watermark,
            ..Counts::default()
        };
        let counts = std::mem::replace(&mut self.counts, counts);
        Ok(Some(Counts {
            epoch: began.elapsed(),
            ..counts
        }))
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
