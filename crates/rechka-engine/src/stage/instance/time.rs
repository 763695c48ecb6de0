//! What the inputs say about time.
use std::time::Instant;

use rechka_log::TopicPartition;
use rechka_sql::plan::Source;

use super::Instance;
use crate::{
    Result,
    stage::{context::StageContext, watermark::Watermark},
};

impl Instance {
    /// Whether the end of the input has been read, and the epoch that works it off is to come.
    pub fn is_at_end(&self, context: &StageContext) -> bool {
        context.ends.is_some() && !self.ended && self.time(context).iter().all(|said| *said == Watermark::END)
    }

    /// What each input says about time now. Tables have no time, and hold nobody up.
    pub(super) fn time(&self, context: &StageContext) -> Vec<Watermark> {
        let mut said = self.endless_time(context);
        for (topic, (_, inputs)) in context.topics.iter().enumerate() {
            if let Some(end) = context.end(topic, self.partition)
                && (self.progress.offsets[topic] >= end || self.caught_up)
            {
                inputs.iter().for_each(|&input| said[input] = Watermark::END);
            }
        }
        said
    }

    /// The same, if the streams are not taken to end where this run stops reading them.
    pub(super) fn endless_time(&self, context: &StageContext) -> Vec<Watermark> {
        let mut said = vec![Watermark::END; context.sources.len()];
        for &input in context.topics.iter().flat_map(|(_, inputs)| inputs) {
            said[input] = Watermark::combine(self.progress.inputs[input].iter().copied());
        }
        said
    }

    /// Whether nobody waits for one of the inputs.
    pub(super) fn is_idle(&self) -> bool {
        self.progress.inputs.iter().flatten().any(|source| source.idle)
    }

    /// Marks the streams idle that have been silent for as long as they say; gives whether there are such. They are again each time
    /// they have been silent for as long once more, so that tasks behind an exchange that start anew get to know it.
    pub(super) fn look_for_idle_inputs(&mut self, context: &StageContext) -> Result<bool> {
        let mut found = false;
        if context.ends.is_some() {
            return Ok(found);
        }
        for (topic, (name, inputs)) in context.topics.iter().enumerate() {
            for &input in inputs {
                let declared = &context.stage().inputs[input];
                let idle = declared.event_time.as_ref().and_then(|time| time.idle);
                let (Source::Stream(_), Some(idle)) = (&declared.source, idle) else {
                    continue;
                };
                if self.heard[input].elapsed() < idle {
                    continue;
                }
                let name = TopicPartition::new(name.clone(), self.partition);
                let read = self.caught_up || self.progress.offsets[topic] >= context.log.offsets(&name)?.end;
                // Behind a transaction that somebody died in there may be records of others.
                if read && !context.log.is_undecided(&name)? {
                    self.progress.inputs[input][0].idle = true;
                    self.dag.lag_behind(true);
                    self.heard[input] = Instant::now();
                    found = true;
                }
            }
        }
        Ok(found)
    }
}
