use std::sync::Arc;

use datafusion::logical_expr::{Distinct, LogicalPlan};

use super::{Options, draft::Draft, flow::Flow};
use crate::{
    Error,
    logical::WindowNode,
    plan::{Emit, Input, Output, Source, Stage},
};

/// Turns logical plans into stages, from the scans to the result.
pub(super) struct Planner<'a> {
    pub name: &'a str,
    pub options: &'a Options,
    /// Those that are finished.
    pub stages: Vec<Stage>,
    /// How many rows of each group the filter above wants, for the ROW_NUMBER() below it.
    pub limits: Vec<u64>,
    /// Whether two streams are joined: only there `state_retention` means something.
    pub joins: bool,
}

/// Where a part of a query stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Its rows are the result, written in this mode if one was asked for.
    Result(Option<Emit>),
    /// Something takes its rows that can't take any back.
    Under(&'static str),
}

impl Planner<'_> {
    pub(super) fn flow(&mut self, plan: &LogicalPlan, place: Place) -> Result<Flow, Error> {
        if let Some(window) = WindowNode::of(plan) {
            return self.window(window);
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection, place),
            LogicalPlan::Filter(filter) => self.filter(filter, place),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, place),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, place),
            LogicalPlan::Window(window) => self.rank(window, place),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            other => Err(Error::Plan(refusal(other))),
        }
    }

    /// How many partitions an exchange has behind so many; one, if all rows belong together.
    pub(super) fn partitions(&self, before: u32, keys: usize) -> u32 {
        if keys == 0 {
            1
        } else {
            self.options.partitions.unwrap_or(before)
        }
    }

    /// Ends the stage of a flow: its rows go on in another, those of equal keys in the same partition.
    pub(super) fn exchange(&mut self, flow: &mut Flow, keys: &[usize], partitions: u32) -> Result<(), Error> {
        let schema = Arc::clone(flow.draft.schema(flow.origin));
        let number = self.stages.len();
        let output = Output::Exchange {
            topic: format!("{}.{number}.exchange", self.name).into(),
            partitions,
            keys: keys.iter().map(|&key| flow.column(key)).collect(),
        };
        let stage = std::mem::take(&mut flow.draft).finish(flow.origin, output)?;
        let same = self.stages.iter().position(|other| {
            let Output::Exchange {
                partitions: other_partitions,
                keys: other_keys,
                ..
            } = &other.output
            else {
                return false;
            };
            let Output::Exchange { keys, .. } = &stage.output else {
                return false;
            };
            (*other_partitions, other_keys) == (partitions, keys)
                && other.inputs == stage.inputs
                && other.nodes == stage.nodes
        });
        let number = same.unwrap_or_else(|| {
            self.stages.push(stage);
            number
        });
        (flow.draft, flow.origin) = Draft::reading(Input {
            source: Source::Exchange(number),
            schema,
            event_time: None,
        });
        flow.partitions = partitions;
        flow.together = Some(keys.to_vec());
        Ok(())
    }
}

fn refusal(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Sort(_) => "ORDER BY needs the last row before it can give the first, and a stream has no last row: order when you \
             ask the result (SELECT … FROM view ORDER BY …), or rank within windows by ROW_NUMBER() OVER (PARTITION BY window_end \
             ORDER BY …)"
            .to_owned(),
        LogicalPlan::Limit(_) => "LIMIT would end a query that runs for ever: limit when you ask the result, or take the first rows of \
             each window by ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY …) <= n"
            .to_owned(),
        LogicalPlan::EmptyRelation(_) => {
            "the query reads no stream, or its conditions can never be true: there is nothing to run".to_owned()
        }
        LogicalPlan::Values(_) => "VALUES are no stream: put them in a file and CREATE TABLE … WITH (path = …)".to_owned(),
        LogicalPlan::Distinct(Distinct::On(_)) => {
            "DISTINCT ON can't be streamed: number the rows of each key by ROW_NUMBER() OVER (PARTITION BY key ORDER BY …) and take \
             the first"
                .to_owned()
        }
        LogicalPlan::Subquery(_) => "a subquery in FROM that uses columns from beside it can't be streamed: write it as a JOIN, and UNNEST a list in the \
             SELECT (SELECT user, unnest(tags) AS tag FROM clicks)"
                .to_owned(),
        other => format!("{} can't be streamed: run it once with `rechka sql --batch`", other.display()),
    }
}
