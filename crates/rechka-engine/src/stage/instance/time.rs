//! What the inputs say about time.
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
    pub(super) fn look_for_idle_inputs(&mut self, context: &StageContext) -> Result<()> {
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
}
