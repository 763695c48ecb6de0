use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, Result, ScalarValue, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::{
        min_max::{max_udaf, min_udaf},
        sum::sum_udaf,
    },
    functions_window::lead_lag::lag_udwf,
    logical_expr::{
        Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits,
        WindowFunctionDefinition, cast, expr::WindowFunction, lit, when,
    },
};

use super::windows::{Scale, project};
use crate::{logical::WindowNode, plan::Window};

const PREVIOUS: &str = "rechka_previous";
const SESSION: &str = "rechka_session";
const FIRST: &str = "rechka_first";
const LAST: &str = "rechka_last";

/// An aggregate over session windows: its keys say which rows make a session.
pub(super) fn expand(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = &plan else {
        return Ok(Transformed::no(plan));
    };
    let Some(input) = sessions(&aggregate.input, aggregate.group_expr.clone())? else {
        return Ok(Transformed::no(plan));
    };
    let plan = plan.with_new_exprs(plan.expressions(), vec![input])?;
    Ok(Transformed::yes(plan))
}

/// `plan` with the session windows that are reached through projections and filters made by `keys`; `None` if there are none.
fn sessions(plan: &LogicalPlan, keys: Vec<Expr>) -> Result<Option<LogicalPlan>> {
    if let Some(node) = WindowNode::of(plan) {
        return match node.window {
            Window::Session { gap } => Ok(Some(assign(node, gap, keys)?)),
            _ => Ok(None),
        };
    }
    let (input, keys) = match plan {
        LogicalPlan::Filter(filter) => (&filter.input, keys),
        LogicalPlan::Projection(projection) => {
            let below = |column: &Column| {
                let index = projection.schema.index_of_column(column)?;
                Ok(projection.expr[index].clone().unalias_nested().data)
            };
            (&projection.input, replace(keys, below)?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = |column: &Column| {
                let index = alias.schema.index_of_column(column)?;
                Ok(Expr::Column(alias.input.schema().qualified_field(index).into()))
            };
            (&alias.input, replace(keys, below)?)
        }
        _ => return Ok(None),
    };
    match sessions(input, keys)? {
        Some(input) => Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?)),
        None => Ok(None),
    }
}

fn replace(keys: Vec<Expr>, below: impl Fn(&Column) -> Result<Expr>) -> Result<Vec<Expr>> {
    let replaced = |key: Expr| {
        key.transform(|expr| match &expr {
            Expr::Column(column) => Ok(Transformed::yes(below(column)?)),
            _ => Ok(Transformed::no(expr)),
        })
    };
    keys.into_iter().map(|key| Ok(replaced(key)?.data)).collect()
}

/// Sessions by keys: a row begins one if the row before it, of the same keys, is `gap` or more away.
fn assign(node: &WindowNode, gap: i64, keys: Vec<Expr>) -> Result<LogicalPlan> {
    if keys.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return plan_err!("sessions are made by one set of keys: write a query for each grouping set, and UNION ALL");
    }
    let (of_window, keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| asks_for_window(node, key));
    if of_window.is_empty() {
        return plan_err!("a session belongs to a group: write GROUP BY …, window_start, window_end");
    }
    let Some(time) = &node.time else {
        return plan_err!("sessions over processing time have no meaning over what is stored");
    };
    let scale = Scale::of(node)?;
    let gap = scale.units(gap)?;
    let units = cast(Expr::Column(time.clone()), DataType::Int64);
    let by_time = Expr::Column(time.clone()).sort(true, false);
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let window = |function: WindowFunctionDefinition, arguments: Vec<Expr>, keys: Vec<Expr>| {
        Expr::from(WindowFunction::new(function, arguments)).partition_by(keys)
    };

    let lag = WindowFunctionDefinition::WindowUDF(lag_udwf());
    let previous = window(
        lag,
        vec![units.clone(), lit(1i64), lit(ScalarValue::Null)],
        keys.clone(),
    )
    .order_by(vec![by_time.clone()])
    .build()?
    .alias(PREVIOUS);
    let begins = when(column(PREVIOUS).is_null(), lit(1i64))
        .when((units.clone() - column(PREVIOUS)).gt_eq(lit(gap)), lit(1i64))
        .otherwise(lit(0i64))?;
    let so_far = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow,
    );
    let session = window(sum_udaf().into(), vec![begins], keys.clone())
        .order_by(vec![by_time])
        .window_frame(so_far)
        .build()?
        .alias(SESSION);
    let of_session: Vec<_> = keys.into_iter().chain([column(SESSION)]).collect();
    let first = window(min_udaf().into(), vec![units.clone()], of_session.clone())
        .build()?
        .alias(FIRST);
    let last = window(max_udaf().into(), vec![units], of_session).build()?.alias(LAST);

    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(Arc::clone(&node.input)))
        .filter(Expr::Column(time.clone()).is_not_null())?
        .window([previous])?
        .window([session])?
        .window([first, last])?;
    project(node, &scale, input, column(FIRST), column(LAST) + lit(gap))
}

fn asks_for_window(node: &WindowNode, key: &Expr) -> bool {
    key.column_refs()
        .into_iter()
        .filter_map(|column| node.schema.maybe_index_of_column(column))
        .any(|index| index >= node.window_columns())
}
