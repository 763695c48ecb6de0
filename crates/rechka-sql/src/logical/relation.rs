use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{Column, DFSchema, Result, plan_datafusion_err, plan_err},
    logical_expr::{
        Expr, LogicalPlan,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
    sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableFactor},
};

use super::{length::micros, proctime::is_processing_time, window::WindowNode};
use crate::{plan::Window, text::factor};

/// `TUMBLE`, `HOP`, `CUMULATE` and `SESSION` in `FROM`.
#[derive(Debug)]
pub(super) struct WindowFunctions;

impl RelationPlanner for WindowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(function) = Function::named(&name.to_string()) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = function.plan(&args.args, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan,
            alias.clone(),
        ))))
    }
}

#[derive(Clone, Copy)]
enum Function {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TUMBLE" => Self::Tumble,
            "HOP" => Self::Hop,
            "CUMULATE" => Self::Cumulate,
            "SESSION" => Self::Session,
            _ => return None,
        })
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(stream, time, INTERVAL '1 minute' [, offset])",
            Self::Hop => "HOP(stream, time, INTERVAL '1 minute' (slide), INTERVAL '5 minutes' (size) [, offset])",
            Self::Cumulate => "CUMULATE(stream, time, INTERVAL '1 hour' (step), INTERVAL '1 day' (size) [, offset])",
            Self::Session => "SESSION(stream, time, INTERVAL '5 minutes')",
        }
    }

    /// Names of the arguments after the time, as Flink calls them.
    fn lengths(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["SIZE", "OFFSET"],
            Self::Hop => &["SLIDE", "SIZE", "OFFSET"],
            Self::Cumulate => &["STEP", "SIZE", "OFFSET"],
            Self::Session => &["GAP"],
        }
    }

    fn plan(self, args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let args = self.in_order(args)?;
        let [input, time, lengths @ ..] = args.as_slice() else {
            return plan_err!("too few arguments: write {}", self.usage());
        };
        let input = context.plan(table_factor((*input).clone(), self.usage())?)?;
        let (time, processing, unit) = time_column((*time).clone(), &input, context, self.usage())?;
        let lengths = lengths
            .iter()
            .map(|length| {
                let length = micros(&context.sql_to_expr((*length).clone(), &DFSchema::empty())?)?;
                whole_units(length, unit)
            })
            .collect::<Result<Vec<_>>>()?;
        let window = self.window(&lengths)?;
        Ok(WindowNode::try_new(Arc::new(input), &time, processing, window)?.into())
    }

    /// Positional arguments as they come; named ones where they belong.
    fn in_order(self, args: &[FunctionArg]) -> Result<Vec<&ast::Expr>> {
        let names: Vec<&str> = ["DATA", "TIMECOL"].iter().chain(self.lengths()).copied().collect();
        let mut ordered: Vec<Option<&ast::Expr>> = vec![None; names.len()];
        for (position, arg) in args.iter().enumerate() {
            let (position, arg) = match arg {
                FunctionArg::Unnamed(arg) => (position, arg),
                FunctionArg::Named { name, arg, .. } => (named_position(&names, &name.value, self.usage())?, arg),
                FunctionArg::ExprNamed { name, arg, .. } => {
                    (named_position(&names, &name.to_string(), self.usage())?, arg)
                }
            };
            match (ordered.get_mut(position), arg) {
                (Some(place @ None), FunctionArgExpr::Expr(arg)) => *place = Some(arg),
                (Some(Some(_)), _) => return plan_err!("{} is given twice: write {}", names[position], self.usage()),
                (None, _) => return plan_err!("too many arguments: write {}", self.usage()),
                (_, other) => return plan_err!("{other} is no argument here: write {}", self.usage()),
            }
        }
        let given = ordered.iter().take_while(|arg| arg.is_some()).count();
        let required = names.iter().take_while(|&&name| name != "OFFSET").count();
        if given < required || ordered.iter().skip(given).any(Option::is_some) {
            return plan_err!("{} is missing: write {}", names[given], self.usage());
        }
        Ok(ordered.into_iter().flatten().collect())
    }

    fn window(self, lengths: &[i64]) -> Result<Window> {
        let offset = |index: usize| lengths.get(index).copied().unwrap_or(0);
        let positive = |index: usize| match lengths.get(index) {
            Some(&length) if length > 0 => Ok(length),
            Some(_) => plan_err!("the length of a window must be more than 0: write {}", self.usage()),
            None => plan_err!("too few arguments: write {}", self.usage()),
        };
        let multiple = |of: i64, size: i64, what: &str| match size {
            _ if size % of != 0 => {
                plan_err!(
                    "the size must be a multiple of the {what} (slide or step come first): {}",
                    self.usage()
                )
            }
            _ if size / of > Window::MAX_OVERLAP => {
                plan_err!(
                    "the size is more than {} times the {what}, in so many windows a row would fall: make the {what} longer",
                    Window::MAX_OVERLAP
                )
            }
            _ => Ok(()),
        };
        Ok(match self {
            Self::Tumble => Window::Hop {
                size: positive(0)?,
                slide: positive(0)?,
                offset: offset(1),
            },
            Self::Hop => {
                let (slide, size) = (positive(0)?, positive(1)?);
                multiple(slide, size, "slide")?;
                Window::Hop {
                    size,
                    slide,
                    offset: offset(2),
                }
            }
            Self::Cumulate => {
                let (step, size) = (positive(0)?, positive(1)?);
                multiple(step, size, "step")?;
                Window::Cumulate {
                    size,
                    step,
                    offset: offset(2),
                }
            }
            Self::Session => Window::Session { gap: positive(0)? },
        })
    }
}

fn named_position(names: &[&str], name: &str, usage: &str) -> Result<usize> {
    names
        .iter()
        .position(|candidate| candidate.eq_ignore_ascii_case(name.trim_matches(['"', '`'])))
        .ok_or_else(|| plan_datafusion_err!("there is no argument {name}: write {usage}"))
}

/// The first argument: a name, a subquery or another table function.
pub(super) fn table_factor(argument: ast::Expr, usage: &str) -> Result<TableFactor> {
    Ok(match argument {
        ast::Expr::Identifier(ident) => factor::table(vec![ident], None, None),
        ast::Expr::CompoundIdentifier(idents) => factor::table(idents, None, None),
        ast::Expr::Subquery(subquery) => factor::derived(subquery),
        ast::Expr::Nested(inner) => return table_factor(*inner, usage),
        ast::Expr::Function(ast::Function {
            name,
            args: ast::FunctionArguments::List(list),
            ..
        }) => {
            let name = name
                .0
                .iter()
                .filter_map(ast::ObjectNamePart::as_ident)
                .cloned()
                .collect();
            factor::table(name, Some(list.args), None)
        }
        other => return plan_err!("{other} is no table: write {usage}"),
    })
}

fn time_column(
    argument: ast::Expr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
    usage: &str,
) -> Result<(Column, bool, TimeUnit)> {
    let text = argument.to_string();
    let Expr::Column(column) = context.sql_to_expr(argument, input.schema())? else {
        return plan_err!("{text} is no column: write {usage}");
    };
    let (_, field) = input.schema().qualified_field_from_column(&column)?;
    match field.data_type() {
        DataType::Timestamp(unit, _) => Ok((column, is_processing_time(field), *unit)),
        other => plan_err!(
            "windows are cut from a timestamp, and {text} is {other}: declare it TIMESTAMP(3), or convert it in a \
             subquery, e.g. to_timestamp_millis({text})"
        ),
    }
}

/// A window can't be finer than the column counts.
fn whole_units(length: i64, unit: TimeUnit) -> Result<i64> {
    let (micros, precision) = match unit {
        TimeUnit::Second => (1_000_000, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => (1, 6),
    };
    if length % micros != 0 {
        return plan_err!(
            "the time column is TIMESTAMP({precision}), which is too coarse for a window of {length} µs: \
             declare it with more digits"
        );
    }
    Ok(length)
}
