use std::{collections::BTreeSet, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, Query, Select, SelectItem, TableFactor, Value, VisitMut,
    VisitorMut,
};

use crate::{
    Error,
    logical::{WINDOW_END, WINDOW_START, WINDOW_TIME},
};

/// The argument that holds the keys.
pub(super) const PARTITION_BY: &str = "PARTITION_BY";

/// Flink says twice what the keys of sessions are: `FROM SESSION(TABLE t PARTITION BY k, …) GROUP BY k, window_start, window_end`.
/// Here they are those of the `GROUP BY`; so the others must be the same, and go.
pub(super) fn agrees_with_groups(query: &mut Query) -> Result<(), Error> {
    match query.visit(&mut Checker) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Checker;

impl VisitorMut for Checker {
    type Break = Error;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match check(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn check(select: &mut Select) -> Result<(), Error> {
    let factors = select.from.iter_mut().flat_map(|table| {
        std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation))
    });
    let partitions: Vec<_> = factors.filter_map(partition).collect();
    for (function, keys) in partitions {
        if !function.eq_ignore_ascii_case("SESSION") {
            return Err(Error::Plan(format!(
                "{function} takes no PARTITION BY: only SESSION does"
            )));
        }
        let names: BTreeSet<String> = keys.iter().map(name).collect();
        let mut groups = groups(select, &names);
        groups.retain(|group| ![WINDOW_START, WINDOW_END, WINDOW_TIME].contains(&group.as_str()));
        if groups != names {
            let keys: Vec<String> = keys.iter().map(Expr::to_string).collect();
            return Err(Error::Plan(format!(
                "sessions are made for the keys of the GROUP BY, and these are others than those of PARTITION BY: write \
                 GROUP BY {}, window_start, window_end in the same SELECT",
                keys.join(", ")
            )));
        }
    }
    Ok(())
}

/// Takes the keys out of a table function: its name, and they.
fn partition(factor: &mut TableFactor) -> Option<(String, Vec<Expr>)> {
    let TableFactor::Table {
        name, args: Some(args), ..
    } = factor
    else {
        return None;
    };
    let place = args.args.iter().position(|arg| match arg {
        FunctionArg::Named { name, .. } => name.value == PARTITION_BY,
        FunctionArg::ExprNamed { name, .. } => name.to_string() == PARTITION_BY,
        FunctionArg::Unnamed(_) => false,
    })?;
    let keys = match args.args.remove(place) {
        FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg) => arg,
    };
    let keys = match keys {
        FunctionArgExpr::Expr(Expr::Tuple(keys)) => keys,
        FunctionArgExpr::Expr(Expr::Nested(key)) => vec![*key],
        FunctionArgExpr::Expr(key) => vec![key],
        _ => Vec::new(),
    };
    Some((name.to_string(), keys))
}

/// What a SELECT is grouped by, each by its name. A name that is among `columns` is that.
fn groups(select: &Select, columns: &BTreeSet<String>) -> BTreeSet<String> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else {
        return BTreeSet::new();
    };
    let named = |group| Some(name(group)).filter(|name| columns.contains(name));
    let groups = groups.iter();
    groups
        .map(|group| named(group).unwrap_or_else(|| name(meant(group, select))))
        .collect()
}

/// What a number or an alias in a GROUP BY stands for.
fn meant<'a>(group: &'a Expr, select: &'a Select) -> &'a Expr {
    let item = match group {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => {
                let place = number.to_string().parse::<usize>().ok();
                place.and_then(|place| select.projection.get(place.checked_sub(1)?))
            }
            _ => None,
        },
        Expr::Identifier(ident) => select
            .projection
            .iter()
            .find(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if same(alias, ident))),
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => group,
    }
}

fn same(one: &Ident, other: &Ident) -> bool {
    one.value.eq_ignore_ascii_case(&other.value)
}

/// A column by its name alone, whatever it is qualified by; anything else as it is written.
fn name(key: &Expr) -> String {
    match key {
        Expr::Identifier(ident) => ident.value.to_lowercase(),
        Expr::CompoundIdentifier(path) => path.last().map(|ident| ident.value.to_lowercase()).unwrap_or_default(),
        other => other.to_string(),
    }
}
