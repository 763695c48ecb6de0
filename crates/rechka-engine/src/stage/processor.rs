//! A stage under a task.
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use arrow::array::RecordBatch;
use rechka_log::{Append, Fetched, LogError, Offset, Partition, TopicPartition};
use rechka_sql::plan::{Output, Source};

use super::{
    appender::{Appender, RowRecord},
    context::StageContext,
    exchange::ExchangeWriter,
    instance::{Ended, Instance},
    purge::Purge,
    readable,
    result::ResultWriter,
    source::StreamSource,
};
use crate::{Outcome, Processor, Result, Step, operators::Dead};

/// Bytes of rows that should be committed before more is read.
const ENOUGH_BYTES: usize = 32 << 20;

/// Runs a stage for the partitions of one task.
pub(crate) struct StageProcessor {
    context: Arc<StageContext>,
    /// The number of the task among those of this process.
    number: u32,
    /// The decoders of the declared streams, by input.
    sources: Vec<Option<StreamSource>>,
    writer: Writer,
    instances: BTreeMap<Partition, Instance>,
    purge: Purge,
}

enum Writer {
    Exchange(ExchangeWriter),
    Result(ResultWriter),
}

impl StageProcessor {
    /// `number`: among those of this process for the stage.
    pub fn new(context: Arc<StageContext>, number: u32) -> Result<Self> {
        let stage = context.stage();
        let source = |input: &rechka_sql::plan::Input| match &input.source {
            Source::Stream(relation) => StreamSource::new(relation, input).map(Some),
            Source::Table(_) | Source::Exchange(_) => Ok(None),
        };
        let writer = match &stage.output {
            Output::Exchange {
                topic,
                partitions,
                keys,
            } => {
                let schema = stage.nodes.last().map_or(&stage.inputs[0].schema, |node| &node.schema);
                Writer::Exchange(ExchangeWriter::new(topic.clone(), *partitions, keys.clone(), schema)?)
            }
            Output::Result => Writer::Result(ResultWriter::new(context.query.result.clone().into())?),
        };
        if let Some(standbys) = &context.standbys {
            standbys.joined(number);
        }
        Ok(StageProcessor {
            number,
            sources: stage.inputs.iter().map(source).collect::<Result<_>>()?,
            writer,
            instances: BTreeMap::new(),
            purge: Purge::new(),
            context,
        })
    }

    /// Rows that came too late, as JSON.
    fn late(
        &self,
        task: Partition,
        batches: &[RecordBatch],
        timestamp: i64,
        too_large: &mut Vec<Dead>,
    ) -> Result<Vec<Append>> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let topic = late_topic(&self.context.query.name);
        let mut appender = Appender::new(TopicPartition::new(topic, task));
        for rows in batches {
            let (values, ends) = readable::encode(rows)?;
            let mut start = 0;
            for (row, end) in ends.into_iter().enumerate() {
                let record = RowRecord {
                    key: None,
                    value: &values[start..end],
                    timestamp,
                    headers: &[],
                    rows,
                    row,
                };
                appender.push_row(record, too_large)?;
                start = end;
            }
        }
        Ok(appender.finish())
    }

    fn write(&mut self, task: Partition, ended: Ended, outcome: &mut Outcome) -> Result<()> {
        let Ended {
            output,
            watermark,
            advanced,
            told,
            now,
            ..
        } = &ended;
        let mut too_large = Vec::new();
        match &mut self.writer {
            // What the stages of a query tell each other is as much its own as their state: a row that came twice, or not at all, would
            // make the rows behind it wrong, which no delivery level allows.
            Writer::Exchange(writer) => {
                let watermark = advanced.then_some(*watermark);
                let written = writer.write(task, &output.rows, watermark, *now, &mut too_large)?;
                outcome.state.extend(written);
            }
            Writer::Result(writer) => {
                let written = writer.write(task, &output.rows, *told, *now, &mut too_large)?;
                outcome.output.extend(written);
            }
        }
        outcome
            .output
            .extend(self.late(task, &output.late, *now, &mut too_large)?);
        if let Some(instance) = self.instances.get_mut(&task) {
            outcome.output.extend(instance.dead_letters(&too_large)?);
        }
        outcome.state.extend(ended.state);
        Ok(())
    }
}

impl Processor for StageProcessor {
    fn assigned(&mut self, partition: Partition, next: &[Offset]) -> Result<()> {
        let began = Instant::now();
        let standbys = self.context.standbys.as_ref();
        let standby = standbys.and_then(|standbys| standbys.assigned(self.number, partition));
        let is_warm = standby.is_some();
        let instance = Instance::restore(&self.context, partition, next, standby)?;
        self.instances.insert(partition, instance);
        let (query, stage) = (&*self.context.query.name, self.context.number);
        tracing::info!(query, stage, partition, is_warm, took = ?began.elapsed(), "a partition is restored");
        Ok(())
    }

    fn revoked(&mut self, partition: Partition) {
        self.instances.remove(&partition);
        self.context.meter.revoked(self.context.number, partition);
        if let Some(standbys) = &self.context.standbys {
            standbys.revoked(self.number, partition);
        }
    }

    fn settled(&mut self) {
        self.context.meter.settled(self.context.number, self.number);
    }

    fn push(&mut self, fetched: &Fetched) -> Result<()> {
        let topics = &self.context.topics;
        let topic = topics.iter().position(|(topic, _)| *topic == fetched.from.topic);
        match (topic, self.instances.get_mut(&fetched.from.partition)) {
            (Some(topic), Some(instance)) => instance.push(&self.context, &mut self.sources, topic, fetched),
            _ => Ok(()),
        }
    }

    /// What is lost of a declared stream goes to the dead letters as a gap. What a stage before has written can't be done without:
    /// the rows and the time in it would be missing in the result.
    fn lost(&mut self, from: &TopicPartition, offsets: Range<Offset>, reason: &str) -> Result<()> {
        let topic = self.context.topics.iter().position(|(topic, _)| *topic == from.topic);
        let (Some(topic), Some(instance)) = (topic, self.instances.get_mut(&from.partition)) else {
            return Ok(());
        };
        let inputs = &self.context.topics[topic].1;
        if inputs.iter().any(|&input| self.sources[input].is_none()) {
            let Range { start, end } = offsets;
            let reason = format!("records of {from} from offset {start} to {end} are lost: {reason}");
            return Err(self.context.unfit(reason));
        }
        tracing::error!(%from, ?offsets, reason, "records are left out");
        instance.lost(&self.context, topic, from, &offsets, reason)
    }

    fn caught_up(&mut self) {
        self.instances.values_mut().for_each(Instance::caught_up);
    }

    fn output(&mut self) -> Result<Outcome> {
        self.context.failpoint.reach(Step::EndEpoch)?;
        let mut ended = Vec::new();
        for (partition, instance) in &mut self.instances {
            ended.extend(instance.end_epoch(&self.context)?.map(|ended| (*partition, ended)));
        }
        let mut outcome = Outcome::default();
        if !ended.is_empty() {
            self.context.failpoint.reach(Step::Encode)?;
        }
        for (partition, ended) in ended {
            self.write(partition, ended, &mut outcome)?;
        }
        Ok(outcome)
    }

    fn is_urgent(&self) -> bool {
        self.instances
            .values()
            .any(|instance| instance.is_at_end(&self.context))
    }

    fn committed(&mut self) -> Result<()> {
        for instance in self.instances.values_mut() {
            if let Some(counts) = instance.committed(&self.context) {
                let meter = &self.context.meter;
                meter.epoch(self.context.number, instance.partition, instance.offsets(), counts);
                if instance.is_ended() && meter.ended(self.context.number, instance.partition) {
                    self.context.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        self.purge.begin(&self.context, self.instances.keys().copied());
        Ok(())
    }

    fn is_full(&self) -> bool {
        let bytes = self.instances.values().map(Instance::output_bytes);
        bytes.sum::<usize>() > ENOUGH_BYTES
    }

    fn failed(&mut self, error: &LogError) {
        self.context.meter.failed(error.to_string());
    }
}

impl Drop for StageProcessor {
    fn drop(&mut self) {
        if let Some(standbys) = &self.context.standbys {
            standbys.left(self.number);
        }
    }
}

/// The topic of a query's late rows.
pub(crate) fn late_topic(query: &str) -> Arc<str> {
    format!("{query}.late").into()
}
