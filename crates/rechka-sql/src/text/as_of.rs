use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator, Query, Select,
    TableFactor, VisitMut, VisitorMut,
};

use super::factor;
use crate::Error;

const USAGE: &str = "write JOIN AS_OF(table, stream.time) AS t ON …";

/// `s JOIN AS_OF(t, s.time) AS t ON condition` becomes `s JOIN t ON condition AND as_of(s.time, condition)`: a plain join with
/// a mark that the planner finds, and that no rule of the optimizer moves to one side, because it speaks of both.
pub(super) fn to_conditions(query: &mut Query) -> Result<(), Error> {
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for join in select.from.iter_mut().flat_map(|table| &mut table.joins) {
            if let Err(error) = rewrite(join) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

fn rewrite(join: &mut Join) -> Result<(), Error> {
    let TableFactor::Table {
        name,
        alias,
        args: Some(args),
        ..
    } = &mut join.relation
    else {
        return Ok(());
    };
    if !name.to_string().eq_ignore_ascii_case("AS_OF") {
        return Ok(());
    }
    let (table, time) = match args.args.as_slice() {
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(table)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(time @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)))),
        ] => (table, time.clone()),
        _ => return Err(Error::Plan(USAGE.to_owned())),
    };
    let path: Vec<Ident> = match table {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(path) => path.clone(),
        other => return Err(Error::Plan(format!("{other} is no table: {USAGE}"))),
    };
    let constraint = match &mut join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => constraint,
        _ => {
            return Err(Error::Plan(
                "only JOIN and LEFT JOIN can ask a table as of a time".to_owned(),
            ));
        }
    };
    let JoinConstraint::On(condition) = constraint else {
        return Err(Error::Plan(USAGE.to_owned()));
    };
    let mark = factor::call("as_of", vec![time, condition.clone()]);
    let given = Box::new(Expr::Nested(Box::new(condition.clone())));
    *condition = Expr::BinaryOp {
        left: given,
        op: BinaryOperator::And,
        right: Box::new(mark),
    };
    join.relation = factor::table(path, None, alias.take());
    Ok(())
}
