//! From the logical plan of a query to what runs for ever: stages, operators, and the time attributes and keys of the result.
//!
//! Planning goes from the scans to the result. A [`flow::Flow`] is the rows on their way: in which stage, with which columns, and
//! what the planner knows of them: which columns are event times, whether rows replace each other, which rows are in the same
//! partition. Columns that the logical plan has dropped and the stream still needs (the time, the end of a window) go along hidden.
mod aggregate;
mod bound;
mod draft;
mod explain;
mod expressions;
mod flow;
mod grouping;
mod join;
mod lookup;
mod planner;
mod project;
mod result;
mod scan;
#[cfg(test)]
mod tests;
mod top;
mod transcribe;
mod union;
mod unnest;
mod window;

use std::{sync::Arc, time::Duration};

use datafusion::logical_expr::{FetchType, LogicalPlan, SkipType};
use rechka_formats::Format;

pub use explain::explain;
pub use transcribe::plan_queries;

use crate::{
    Error, Kind,
    deep::on_deep_stack,
    logical,
    plan::{Emit, Query},
    statement::Derive,
};

/// What a query is to make, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stream or view.
    pub kind: Kind,
    /// The topic of the result; `None`: named as the query.
    pub topic: Option<Arc<str>>,
    /// How the result is written.
    pub format: Format,
    /// The columns that make the key of a record; empty: what tells the rows of the result apart, if anything does.
    pub key: Vec<Arc<str>>,
    /// Partitions of the result and of exchanges; `None`: as many as the input has.
    pub partitions: Option<u32>,
    /// When results are written; `None`: once if that is possible, else each change.
    pub mode: Option<Emit>,
    /// How long a row waits for a partner in a join that has no time bound of its own.
    pub state_retention: Option<Duration>,
    /// See [`EventTime::idle`](crate::EventTime::idle); of the result.
    pub idle: Option<Duration>,
    /// See [`EventTime::ahead`](crate::EventTime::ahead); of the result.
    pub ahead: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Stream,
            topic: None,
            format: Format::Json,
            key: vec![],
            partitions: None,
            mode: None,
            state_retention: None,
            idle: None,
            ahead: Duration::from_secs(3600),
        }
    }
}

impl From<&Derive> for Options {
    fn from(derive: &Derive) -> Self {
        let options = derive.options.clone();
        Self {
            kind: if derive.materialised { Kind::View } else { Kind::Stream },
            topic: Some(options.topic),
            format: options.format,
            key: options.key,
            partitions: options.partitions,
            mode: options.output_mode,
            state_retention: options.state_retention,
            idle: options.idle_timeout,
            ahead: options.max_ahead,
        }
    }
}

/// Plans a query, given as written (`logical::logical_plan`), that runs for ever under a name. It has no `TRANSCRIBE`: see
/// [`plan_queries`].
///
/// # Errors
/// What can't be streamed is refused with the reason and what to write instead.
pub fn plan_query(name: &str, plan: LogicalPlan, options: &Options) -> Result<Query, Error> {
    let plan = logical::optimise(plan)?;
    on_deep_stack(|| {
        let mut planner = planner::Planner {
            name,
            options,
            stages: vec![],
            limits: vec![],
            joins: false,
        };
        let flow = planner.flow(&plan, planner::Place::Result(options.mode))?;
        if options.state_retention.is_some() && !planner.joins {
            return Err(Error::Plan(
                "state_retention says how long rows wait in a join of two streams, and there is none here: leave it away. Rows of \
                 ended windows are forgotten by themselves"
                    .to_owned(),
            ));
        }
        planner.finish(flow, plan.schema())
    })
}

/// Plans a query whose rows are only looked at; with it, how many of them are asked for, by a `LIMIT`.
///
/// # Errors
/// What can't be streamed is refused with the reason and what to write instead.
pub fn plan_watched(plan: LogicalPlan) -> Result<(Query, Option<usize>), Error> {
    let (plan, limit) = match plan {
        LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (SkipType::Literal(0), FetchType::Literal(fetch)) => (Arc::unwrap_or_clone(limit.input), fetch),
            _ => {
                return Err(Error::Plan(
                    "of a stream, LIMIT takes the first rows: a number, without OFFSET".to_owned(),
                ));
            }
        },
        plan => (plan, None),
    };
    Ok((plan_query("select", plan, &Options::default())?, limit))
}
