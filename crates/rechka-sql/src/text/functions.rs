use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, VisitMut, VisitorMut};

use super::factor;

/// `MOD(a, b)` becomes `(a % b)`: DataFusion has the operator only.
pub(super) fn as_operators(query: &mut Query) {
    let _ = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr
            && call.name.to_string().eq_ignore_ascii_case("MOD")
            && let Some([left, right]) = factor::arguments(call).as_deref()
        {
            let operand = |operand: &Expr| Box::new(Expr::Nested(Box::new(operand.clone())));
            let modulo = Expr::BinaryOp {
                left: operand(left),
                op: BinaryOperator::Modulo,
                right: operand(right),
            };
            *expr = Expr::Nested(Box::new(modulo));
        }
        ControlFlow::Continue(())
    }
}
