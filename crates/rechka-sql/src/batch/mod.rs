//! The same query over what is stored: windows as ordinary relational algebra, which DataFusion runs.
mod session;
mod windows;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider,
    common::{
        Result as DataFusionResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::provider_as_source,
    logical_expr::LogicalPlan,
};

use crate::{
    Error, Relation,
    logical::{RelationSource, Transcription, WindowNode, as_of_time},
    plan::Window,
};

/// Turns every [`WindowNode`] of an optimised plan into plain projections, so that DataFusion can run it: once, over what there is,
/// with the rows that a stream would have given when all its input has come. Processing time is the time of the run.
///
/// The plan must be [optimised](crate::logical::optimise) before, because a filter above a session window belongs below it.
///
/// # Errors
/// `AS OF`: of a table only the last rows are stored.
pub fn expand_windows(plan: LogicalPlan) -> Result<LogicalPlan, Error> {
    if asks_for_the_past(&plan)? {
        return Err(Error::Plan(
            "AS OF asks how a table was, and of a table only the last row of each key is stored: leave AS OF away to join it as it \
             is now, or let a stream answer (`rechka run`)"
                .to_owned(),
        ));
    }
    let plan = plan
        .transform_up_with_subqueries(|plan| session::expand(plan)?.transform_data(expand))?
        .data;
    Ok(plan)
}

fn asks_for_the_past(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= as_of_time(expr).is_some();
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn expand(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    match WindowNode::of(&plan) {
        Some(node) if !matches!(node.window, Window::Session { .. }) => Ok(Transformed::yes(windows::expand(node)?)),
        _ => Ok(Transformed::no(plan)),
    }
}

/// What a scan reads.
pub enum Scanned<'a> {
    /// A relation of the catalogue.
    Relation(&'a Arc<Relation>),
    /// Audio, recognised.
    Transcripts(&'a Transcription),
}

/// Lets the scans of a plan read what `table` gives for them.
pub fn read_from(
    plan: LogicalPlan,
    mut table: impl FnMut(Scanned<'_>) -> DataFusionResult<Arc<dyn TableProvider>>,
) -> Result<LogicalPlan, Error> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::TableScan(mut scan) = plan else {
            return Ok(Transformed::no(plan));
        };
        let scanned = if let Some(source) = scan.source.downcast_ref::<RelationSource>() {
            Scanned::Relation(&source.relation)
        } else if let Some(source) = scan.source.downcast_ref::<Transcription>() {
            Scanned::Transcripts(source)
        } else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        scan.source = provider_as_source(table(scanned)?);
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(plan.data)
}
