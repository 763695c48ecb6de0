//! What the last committed epoch left, taken up again.
use std::time::{Duration, Instant};

use rechka_log::{Offset, Partition};
use rechka_sql::plan::Source;

use super::Instance;
use crate::{
    Result,
    stage::{
        context::StageContext,
        dead::DeadLetters,
        file,
        replica::Replica,
        table::{self, TableReader},
        watermark::Watermark,
    },
    statistics::Counts,
};

impl Instance {
    /// Restores what the last committed epoch left; `next` are the offsets that it committed, `standby` what is known of it already.
    pub fn restore(
        context: &StageContext,
        partition: Partition,
        next: &[Offset],
        standby: Option<Replica>,
    ) -> Result<Self> {
        let stage = context.stage();
        let (mut dag, last, written, changelog) = match &context.state {
            Some(topic) => {
                let replica = standby.map_or_else(|| Replica::new(context, topic, partition), Ok)?;
                let restored = replica.restore(context, next)?;
                (restored.dag, restored.last, restored.written, Some(restored.changelog))
            }
            None => (context.new_dag()?, None, 0, None),
        };
        let mut progress = last.unwrap_or_default();
        progress.offsets = next.to_vec();
        let unknown = |sources: &usize| vec![Watermark::UNKNOWN; *sources];
        if progress.inputs.is_empty() {
            progress.inputs = context.sources.iter().map(unknown).collect();
        }
        // Whoever was idle may have spoken since, and says so again if not.
        let mut were_idle = false;
        for source in progress.inputs.iter_mut().flatten() {
            were_idle |= std::mem::take(&mut source.idle);
        }
        dag.lag_behind(were_idle);
        progress.told.resize(context.sources.len(), false);
        for (told, input) in progress.told.iter_mut().zip(&stage.inputs) {
            *told |= input.event_time.as_ref().is_some_and(|time| time.announced);
        }
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
        instance.load_tables(context, written)?;
        Ok(instance)
    }

    /// Reads the tables, as far as the state, which was written then (milliseconds), does not have them.
    fn load_tables(&mut self, context: &StageContext, written: i64) -> Result<()> {
        let age = Duration::from_millis(self.now.div_euclid(1000).abs_diff(written));
        let known = std::mem::take(&mut self.progress.files);
        for (number, input) in context.stage().inputs.iter().enumerate() {
            if let Source::Table(relation) = &input.source {
                if let Some(path) = &relation.file {
                    let fingerprint = file::fingerprint(path)?;
                    let before = known.get(self.progress.files.len());
                    if before.is_some_and(|before| *before != fingerprint) {
                        self.dag.clear(number)?;
                    }
                    if before != Some(&fingerprint) {
                        let mut all = file::read(path, &input.schema)?;
                        if let Some(time) = &input.event_time {
                            all = file::by_time(&all, time.column, &input.schema)?;
                        }
                        for rows in all {
                            self.dag.push(number, table::upserts(rows, input)?, self.now)?;
                        }
                    }
                    self.progress.files.push(fingerprint);
                    continue;
                }
                let mut next = self.progress.tables.get(self.tables.len()).map(Vec::as_slice);
                if next.is_some() && age > table::DELETIONS_KEPT {
                    self.dag.clear(number)?;
                    next = None;
                }
                let mut table = TableReader::open(&*context.log, relation, input, next.unwrap_or_default())?;
                table.read_all(|news| self.take(number, news))?;
                self.tables.push((number, table));
            }
        }
        self.bury_all()
    }
}
