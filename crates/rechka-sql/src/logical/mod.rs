//! Queries as DataFusion's logical plans, in which a window function is a [`WindowNode`].
mod as_of;
mod context;
mod length;
mod proctime;
mod relation;
mod speech;
mod types;
mod window;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, config::ConfigOptions, tree_node::TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan},
    optimizer::{Analyzer, Optimizer, OptimizerContext},
    sql::{
        planner::{ParserOptions, PlannerContext, SqlToRel},
        sqlparser::ast,
    },
};

pub use as_of::as_of_time;
pub use context::RelationSource;
pub(crate) use length::micros;
pub use proctime::is_processing_time;
pub use speech::{Transcription, time_before};
pub use window::{WINDOW_END, WINDOW_START, WINDOW_TIME, WindowNode};

use crate::{Catalog, Error, Query, Relation, deep::on_deep_stack};

#[cfg(test)]
mod tests;

/// The type that a column declared as `kind` has, if there is one.
pub(crate) fn sql_type(kind: &ast::DataType) -> Option<DataType> {
    let (name, data_type) = (ast::Ident::new("column"), kind.clone());
    let (catalog, options) = (Catalog::default(), options());
    let context = context::Context::new(&catalog);
    let planner = SqlToRel::new_with_options(&context, ParserOptions::from(&options.sql_parser));
    let schema = planner
        .build_schema(vec![ast::ColumnDef {
            name,
            data_type,
            options: vec![],
        }])
        .ok()?;
    Some(schema.field(0).data_type().clone())
}

/// An expression without columns.
pub(crate) fn constant(expr: ast::Expr) -> Result<Expr, Error> {
    let (catalog, options) = (Catalog::default(), options());
    let context = context::Context::new(&catalog);
    let planner = SqlToRel::new_with_options(&context, ParserOptions::from(&options.sql_parser));
    Ok(planner.sql_to_expr(expr, &DFSchema::empty(), &mut PlannerContext::new())?)
}

/// The plan of a query, as written.
pub fn logical_plan(catalog: &Catalog, query: &Query) -> Result<LogicalPlan, Error> {
    on_deep_stack(|| {
        let context = context::Context::new(catalog);
        let planner = SqlToRel::new_with_options(&context, ParserOptions::from(&options().sql_parser));
        Ok(planner.sql_statement_to_plan(ast::Statement::Query(Box::new(query.syntax(catalog)?)))?)
    })
}

/// Rules of DataFusion that do harm to a stream, or no good:
/// - a single `count(DISTINCT x)` would become an aggregate of an aggregate, with the state of both;
/// - parts of a nested column would be computed as low as possible, for scans that can read parts; ours can't, and the
///   projections that are left in between keep operators from being shared and windows from their aggregate;
/// - unions of filters over one scan would become a condition with OR, which loses what each branch knows of its columns.
const UNWANTED: [&str; 4] = [
    "single_distinct_aggregation_to_group_by",
    "extract_leaf_expressions",
    "push_down_leaf_projections",
    "unions_to_filter",
];

/// The same plan with types coerced, projections and filters pushed down, and so on, by DataFusion's rules, except those that
/// are [`UNWANTED`]; and `now()` stays a function, for a stream runs for longer than a moment. The planner counts on these: filters
/// sink into joins (where time bounds are found), cross joins and equalities become joins on keys, `DISTINCT` becomes an
/// aggregate, `IN` and `EXISTS` become semi joins, and scans read no more columns than are used.
pub fn optimise(plan: LogicalPlan) -> Result<LogicalPlan, Error> {
    on_deep_stack(|| {
        let options = Arc::new(options());
        let plan = Analyzer::new().execute_and_check(plan, &options, |_, _| {})?;
        let mut rules = Optimizer::new().rules;
        rules.retain(|rule| !UNWANTED.contains(&rule.name()));
        let context = OptimizerContext::new_with_config_options(options).without_query_execution_start_time();
        Ok(Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?)
    })
}

/// Names keep the case they are written in (`names.rs` sees to the rest), and strings are `Utf8`: views into large buffers
/// would keep those alive in the state.
fn options() -> ConfigOptions {
    let mut options = ConfigOptions::default();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.execution.time_zone = Some("+00:00".to_owned());
    options
}

/// The relations that a plan reads.
pub fn relations(plan: &LogicalPlan) -> Result<Vec<Arc<Relation>>, Error> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan {
            if let Some(source) = scan.source.downcast_ref::<RelationSource>() {
                found.push(Arc::clone(&source.relation));
            } else if let Some(source) = scan.source.downcast_ref::<Transcription>() {
                found.push(Arc::clone(&source.audio));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
