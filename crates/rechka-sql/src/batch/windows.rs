use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{Column, Result, config::ConfigOptions, plan_datafusion_err, plan_err},
    functions::datetime::now,
    functions_nested::expr_fn::range,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit},
};

use crate::{logical::WindowNode, plan::Window};

const WINDOWS: &str = "rechka_windows";

/// A window node (no session) as projections. Times are whole numbers in the unit of the time column.
pub(super) fn expand(node: &WindowNode) -> Result<LogicalPlan> {
    let scale = Scale::of(node)?;
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(Arc::clone(&node.input)));
    let (input, time) = match &node.time {
        Some(time) => (input.filter(column(time).is_not_null())?, column(time)),
        None => (
            input,
            cast(now(&ConfigOptions::default()).call(vec![]), scale.kind.clone()),
        ),
    };
    let time = cast(time, DataType::Int64);
    let (input, start, end) = match node.window {
        Window::Hop { size, slide, offset } if size == slide => {
            let (size, offset) = (scale.units(size)?, scale.units(offset)?);
            let start = floor(time, size, offset);
            (input, start.clone(), start + lit(size))
        }
        Window::Hop { size, slide, offset } => {
            let (size, slide, offset) = (scale.units(size)?, scale.units(slide)?, scale.units(offset)?);
            let starts = range(floor(time.clone(), slide, offset), time - lit(size), lit(-slide));
            let start = Expr::Column(Column::new_unqualified(WINDOWS));
            (each(input, starts)?, start.clone(), start + lit(size))
        }
        Window::Cumulate { size, step, offset } => {
            let (size, step, offset) = (scale.units(size)?, scale.units(step)?, scale.units(offset)?);
            let start = floor(time.clone(), size, offset);
            let first = floor(time.clone() - start.clone(), step, 0) + start.clone() + lit(step);
            let ends = range(first, start + lit(size + 1), lit(step));
            let end = Expr::Column(Column::new_unqualified(WINDOWS));
            (each(input, ends)?, floor(end.clone() - lit(1i64), size, offset), end)
        }
        Window::Session { .. } => return plan_err!("a session window is no property of a row"),
    };
    project(node, &scale, input, start, end)
}

/// The columns of the node from those of `input`, with the bounds of the window in units.
pub(super) fn project(
    node: &WindowNode,
    scale: &Scale,
    input: LogicalPlanBuilder,
    start: Expr,
    end: Expr,
) -> Result<LogicalPlan> {
    let time = end.clone() - lit(scale.millisecond);
    let bounds = [start, end, time]
        .into_iter()
        .zip(node.schema.iter().skip(node.window_columns()));
    let bounds = bounds.map(|(bound, (qualifier, field))| {
        cast(bound, scale.kind.clone()).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = node.input.schema().columns().into_iter().map(Expr::Column);
    input.project(columns.chain(bounds).collect::<Vec<_>>())?.build()
}

/// A row for each element of a list.
fn each(input: LogicalPlanBuilder, list: Expr) -> Result<LogicalPlanBuilder> {
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let columns: Vec<_> = columns.chain([list.alias(WINDOWS)]).collect();
    input.project(columns)?.unnest_column(Column::new_unqualified(WINDOWS))
}

/// The greatest `offset + n * length` that is not after `time`, also before 1970.
fn floor(time: Expr, length: i64, offset: i64) -> Expr {
    let length = || lit(length);
    let since = (time.clone() - lit(offset)) % length();
    time - (since + length()) % length()
}

fn column(column: &Column) -> Expr {
    Expr::Column(column.clone())
}

/// How the time column counts.
pub(super) struct Scale {
    kind: DataType,
    per_second: i64,
    millisecond: i64,
}

impl Scale {
    pub(super) fn of(node: &WindowNode) -> Result<Self> {
        let kind = node.schema.field(node.window_columns()).data_type().clone();
        let DataType::Timestamp(unit, _) = kind else {
            return plan_err!("the time of a window is {kind}");
        };
        let (per_second, millisecond) = match unit {
            TimeUnit::Second => (1, 1),
            TimeUnit::Millisecond => (1_000, 1),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1_000_000),
        };
        Ok(Self {
            kind,
            per_second,
            millisecond,
        })
    }

    /// Microseconds in units of the column.
    pub(super) fn units(&self, micros: i64) -> Result<i64> {
        match self.per_second {
            scale @ ..1_000_000 => Ok(micros / (1_000_000 / scale)),
            scale => micros
                .checked_mul(scale / 1_000_000)
                .ok_or_else(|| plan_datafusion_err!("a window of {micros} µs is too long for TIMESTAMP(9)")),
        }
    }
}
