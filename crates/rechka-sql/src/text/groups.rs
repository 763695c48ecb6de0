use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem, Subscript, TableFactor, Value, VisitMut,
    VisitorMut,
};

use super::factor;
use crate::{
    Error,
    logical::{WINDOW_END, WINDOW_START, WINDOW_TIME},
};

/// Windows in `GROUP BY` become table functions, so that there is one form to plan:
///
/// | read | becomes |
/// |---|---|
/// | Spark: `FROM t GROUP BY window(ts, size, slide)` | `FROM HOP(t, ts, slide, size) GROUP BY window_start, window_end` |
/// | Spark: `GROUP BY session_window(ts, gap)` | `FROM SESSION(t, ts, gap) …` |
/// | Flink before 1.13: `GROUP BY TUMBLE(ts, size)`, `HOP(ts, slide, size)`, `SESSION(ts, gap)` | the same |
/// | `window.start`, `TUMBLE_START(…)`, `SESSION_END(…)`, `HOP_ROWTIME(…)` | `window_start`, `window_end`, `window_time` |
pub(super) fn to_table_functions(query: &mut Query) -> Result<(), Error> {
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match rewrite(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn rewrite(select: &mut Select) -> Result<(), Error> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else {
        return Ok(());
    };
    let windows: Vec<_> = groups
        .iter()
        .enumerate()
        .filter_map(|(index, group)| Some((index, Window::of(group)?)))
        .collect();
    let (position, window) = match windows.as_slice() {
        [] => return Ok(()),
        [(position, window)] => (*position, window.clone()),
        _ => {
            return Err(Error::Plan(
                "GROUP BY has more than one window: nest them by a subquery".to_owned(),
            ));
        }
    };
    let group = groups.remove(position);
    let (qualifier, time) = window.time()?;
    let factor = windowed_factor(select, qualifier.as_ref(), &window)?;
    let columns = Columns {
        qualifier: factor::name(factor),
    };
    factor::wrap(factor, window.function, time, window.lengths.clone())?;

    for item in &mut select.projection {
        name_struct(item, &window, &group);
    }
    let mut calls = Calls {
        window: &window,
        group: &group,
        columns: &columns,
        row_time: false,
    };
    if let ControlFlow::Break(error) = select.visit(&mut calls) {
        return Err(error);
    }
    let row_time = calls.row_time;
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        let names = [WINDOW_START, WINDOW_END]
            .into_iter()
            .chain(row_time.then_some(WINDOW_TIME));
        groups.splice(position..position, names.map(|name| columns.column(name)));
    }
    Ok(())
}

/// The one relation in FROM that has the time column.
fn windowed_factor<'a>(
    select: &'a mut Select,
    qualifier: Option<&Ident>,
    window: &Window,
) -> Result<&'a mut TableFactor, Error> {
    let mut factors: Vec<_> = select
        .from
        .iter_mut()
        .flat_map(|table| {
            std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation))
        })
        .filter(|candidate| {
            qualifier.is_none_or(|qualifier| factor::name(candidate).is_some_and(|name| name == *qualifier))
        })
        .collect();
    match (factors.pop(), factors.pop()) {
        (Some(factor), None) => Ok(factor),
        (None, _) => Err(Error::Plan(format!(
            "FROM has no relation for the time of {}",
            window.call
        ))),
        _ => Err(Error::Plan(format!(
            "{}: say whose time it is (table.column)",
            window.call
        ))),
    }
}

/// A window function in GROUP BY.
#[derive(Clone)]
struct Window {
    /// The table function it becomes.
    function: &'static str,
    /// Whether the window is a column with the fields `start` and `end` (Spark), and its name.
    column: Option<&'static str>,
    arguments: Vec<Expr>,
    lengths: Vec<Expr>,
    call: String,
}

impl Window {
    fn of(group: &Expr) -> Option<Self> {
        let Expr::Function(call) = group else { return None };
        let arguments = factor::arguments(call)?;
        let (_, lengths) = arguments.split_first()?;
        let (function, column, lengths) = match (name(call).as_str(), lengths) {
            ("TUMBLE", lengths) => ("TUMBLE", None, lengths.to_vec()),
            ("HOP", lengths) => ("HOP", None, lengths.to_vec()),
            ("SESSION", lengths) => ("SESSION", None, lengths.to_vec()),
            ("WINDOW", [size]) => ("TUMBLE", Some("window"), vec![size.clone()]),
            ("WINDOW", [size, slide, offset @ ..]) => {
                let lengths = [slide, size].into_iter().chain(offset).cloned().collect();
                ("HOP", Some("window"), lengths)
            }
            ("SESSION_WINDOW", lengths) => ("SESSION", Some("session_window"), lengths.to_vec()),
            _ => return None,
        };
        Some(Self {
            function,
            column,
            lengths,
            call: group.to_string(),
            arguments,
        })
    }

    /// Qualifier and name of the time column.
    fn time(&self) -> Result<(Option<Ident>, Ident), Error> {
        match self.arguments.first() {
            Some(Expr::Identifier(time)) => Ok((None, time.clone())),
            Some(Expr::CompoundIdentifier(path)) if path.len() == 2 => Ok((path.first().cloned(), path[1].clone())),
            _ => Err(Error::Plan(format!(
                "the time of {} must be a column: compute it in a subquery",
                self.call
            ))),
        }
    }
}

fn name(call: &Function) -> String {
    call.name.to_string().to_ascii_uppercase()
}

/// The window columns of the relation that was wrapped.
struct Columns {
    qualifier: Option<Ident>,
}

impl Columns {
    fn column(&self, name: &str) -> Expr {
        let name = Ident::new(name);
        match &self.qualifier {
            Some(qualifier) => Expr::CompoundIdentifier(vec![qualifier.clone(), name]),
            None => Expr::Identifier(name),
        }
    }
}

/// Spark's `SELECT window` gives a column of that name.
fn name_struct(item: &mut SelectItem, window: &Window, group: &Expr) {
    let Some(column) = window.column else { return };
    if let SelectItem::UnnamedExpr(expr) = item
        && (expr == group || matches!(expr, Expr::Identifier(name) if name.value.eq_ignore_ascii_case(column)))
    {
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::new(column),
        };
    }
}

/// Replaces what refers to the window.
struct Calls<'a> {
    window: &'a Window,
    group: &'a Expr,
    columns: &'a Columns,
    row_time: bool,
}

impl VisitorMut for Calls<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Some(message) = self.disagreement(expr) {
            return ControlFlow::Break(Error::Plan(message));
        }
        if let Some(replacement) = self.replacement(expr) {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}

impl Calls<'_> {
    /// `TUMBLE_START(…)` must name the window that `GROUP BY TUMBLE(…)` makes.
    fn disagreement(&self, expr: &Expr) -> Option<String> {
        let (Expr::Function(call), None) = (expr, self.window.column) else {
            return None;
        };
        let called = name(call);
        let field = called.strip_prefix(self.window.function)?.strip_prefix('_')?;
        if !["START", "END", "ROWTIME"].contains(&field) {
            return None;
        }
        let same = factor::arguments(call).is_some_and(|arguments| {
            let text = |arguments: &[Expr]| arguments.iter().map(Expr::to_string).collect::<Vec<_>>().join(", ");
            text(&arguments).eq_ignore_ascii_case(&text(&self.window.arguments))
        });
        (!same).then(|| {
            format!(
                "{call} is of another window than GROUP BY {}: write the same arguments in both",
                self.window.call
            )
        })
    }

    fn replacement(&mut self, expr: &Expr) -> Option<Expr> {
        match (expr, self.window.column) {
            (Expr::Function(call), None) => {
                let name = name(call);
                let field = name.strip_prefix(self.window.function)?.strip_prefix('_')?;
                match field {
                    "START" => Some(self.columns.column(WINDOW_START)),
                    "END" => Some(self.columns.column(WINDOW_END)),
                    "ROWTIME" => {
                        self.row_time = true;
                        Some(self.columns.column(WINDOW_TIME))
                    }
                    _ => None,
                }
            }
            (Expr::CompoundIdentifier(path), Some(column)) => match path.as_slice() {
                [window, field] if window.value.eq_ignore_ascii_case(column) => self.field(field),
                _ => None,
            },
            (Expr::CompoundFieldAccess { root, access_chain }, Some(_)) if **root == *self.group => {
                match access_chain.as_slice() {
                    [AccessExpr::Dot(Expr::Identifier(field))] => self.field(field),
                    [
                        AccessExpr::Subscript(Subscript::Index {
                            index: Expr::Value(value),
                        }),
                    ] => match &value.value {
                        Value::SingleQuotedString(field) => self.field(&Ident::new(field)),
                        _ => None,
                    },
                    _ => None,
                }
            }
            (Expr::Identifier(name), Some(column)) if name.value.eq_ignore_ascii_case(column) => Some(self.structure()),
            (expr, Some(_)) if expr == self.group => Some(self.structure()),
            _ => None,
        }
    }

    fn field(&self, field: &Ident) -> Option<Expr> {
        match field.value.to_ascii_lowercase().as_str() {
            "start" => Some(self.columns.column(WINDOW_START)),
            "end" => Some(self.columns.column(WINDOW_END)),
            _ => None,
        }
    }

    fn structure(&self) -> Expr {
        let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
        factor::call(
            "named_struct",
            vec![
                text("start"),
                self.columns.column(WINDOW_START),
                text("end"),
                self.columns.column(WINDOW_END),
            ],
        )
    }
}
