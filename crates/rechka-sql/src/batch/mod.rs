//! The same query over what is stored: windows as ordinary relational algebra, which DataFusion runs.
mod session;
mod windows;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider,
    common::{Result as DataFusionResult, tree_node::Transformed},
    datasource::provider_as_source,
    logical_expr::LogicalPlan,
};

use crate::{
    Error, Relation,
    logical::{RelationSource, Transcription, WindowNode},
    plan::Window,
};

/// Turns every [`WindowNode`] of an optimised plan into plain projections, so that DataFusion can run it: once, over what there is,
/// with the rows that a stream would have given when all its input has come. Processing time is the time of the run.
///
/// The plan must be [optimised](crate::logical::optimise) before, because a filter above a session window belongs below it.
pub fn expand_windows(plan: LogicalPlan) -> Result<LogicalPlan, Error> {
    let plan = plan
        .transform_up_with_subqueries(|plan| session::expand(plan)?.transform_data(expand))?
        .data;
    Ok(plan)
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
