use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::context::ExecutionProps,
    logical_expr::{Expr, SortExpr},
    physical_expr::{PhysicalSortExpr, create_physical_expr, create_physical_sort_expr},
};

use crate::{Error, plan};

/// An expression of the logical plan, over columns of these names.
pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> Result<plan::Expr, Error> {
    check(expr)?;
    Ok(create_physical_expr(
        expr,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?)
}

/// An order of the logical plan, over columns of these names.
pub(super) fn physical_order(order: &[SortExpr], schema: &DFSchema) -> Result<Vec<PhysicalSortExpr>, Error> {
    order
        .iter()
        .map(|sort| {
            check(&sort.expr)?;
            let context = PhysicalPlanningContext::default();
            Ok(create_physical_sort_expr(
                sort,
                schema,
                &ExecutionProps::new(),
                &context,
            )?)
        })
        .collect()
}

/// Refuses what has no meaning in a query that runs for ever.
pub(super) fn check(expr: &Expr) -> Result<(), Error> {
    let mut refusal = None;
    expr.apply(|expr| {
        refusal = match expr {
            Expr::ScalarFunction(function) if is_moment(function.name()) => Some(format!(
                "{}() is the moment at which a query starts, and this one runs for ever: use the event time of the row, or \
                 PROCTIME() for the moment at which the row is processed",
                function.name()
            )),
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => Some(
                "a subquery inside an expression would have to be answered again for every row: write it as a JOIN in FROM"
                    .to_owned(),
            ),
            Expr::OuterReferenceColumn(_, column) => Some(format!(
                "{column} belongs to the query around the subquery, which can't be streamed: write the subquery as a JOIN"
            )),
            Expr::WindowFunction(function) => Some(no_window_function(&function.fun.to_string())),
            Expr::Placeholder(placeholder) => Some(format!("{} has no value here: write one", placeholder.id)),
            _ => None,
        };
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refusal.map_or(Ok(()), |refusal| Err(Error::Plan(refusal)))
}

fn is_moment(function: &str) -> bool {
    matches!(
        function,
        "now" | "current_timestamp" | "current_date" | "current_time" | "today"
    )
}

pub(super) fn no_window_function(name: &str) -> String {
    format!(
        "{name}(…) OVER (…) can't be streamed: of the window functions only ROW_NUMBER() can, in a subquery under a filter \
         like WHERE row_number <= 3; for figures over time group by TUMBLE, HOP or SESSION windows"
    )
}
