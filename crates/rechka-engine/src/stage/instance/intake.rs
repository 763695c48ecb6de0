//! Records on their way in, and what can't be used of them.
use std::{ops::Range, time::Instant};

use rechka_formats::Bad;
use rechka_log::{Append, Fetched, Offset, TopicPartition};

use super::Instance;
use crate::{
    EngineError, Result,
    operators::Dead,
    stage::{
        context::StageContext,
        dag::LeftOut,
        exchange::{self, Message},
        source::StreamSource,
        table::News,
        watermark::Watermark,
    },
};

impl Instance {
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
    pub(super) fn bury_all(&mut self) -> Result<()> {
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
                Message::Watermark { task, mut watermark } => {
                    // Of an earlier run; it is said again in this one if it is so still.
                    watermark.idle &= offset >= begin;
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
    pub(super) fn begin(&mut self, context: &StageContext) -> Result<()> {
        self.began = Some(Instant::now());
        self.now = self.now.max((context.clock)());
        self.read_tables().map(drop)
    }

    /// Takes what is new in the tables; gives whether there was something.
    pub(super) fn read_tables(&mut self) -> Result<bool> {
        let mut all = Vec::new();
        for (input, table) in &mut self.tables {
            all.extend(table.read_new()?.into_iter().map(|news| (*input, news)));
        }
        let some = !all.is_empty();
        all.into_iter().try_for_each(|(input, news)| self.take(input, news))?;
        self.bury_all()?;
        Ok(some)
    }

    /// Takes what comes of a table. All tasks read it, and the first says what can't be used of it.
    pub(super) fn take(&mut self, input: usize, news: News) -> Result<()> {
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
}
