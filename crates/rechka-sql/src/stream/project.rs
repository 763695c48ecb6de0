use datafusion::{
    common::DFSchema,
    logical_expr::{Expr, Filter, Projection, SubqueryAlias, utils::split_conjunction},
};

use super::{
    expressions::{check, physical},
    flow::{Column, Computed, Flow, Rows, Time},
    planner::{Place, Planner},
    top::{Ranks, ranks},
    window::WindowColumn,
};
use crate::{Error, logical::time_before, plan::DELETED};

impl Planner<'_> {
    pub(super) fn projection(&mut self, projection: &Projection, place: Place) -> Result<Flow, Error> {
        let mut flow = self.flow(&projection.input, place)?;
        flow.project(&projection.expr, &projection.schema)?;
        Ok(flow)
    }

    pub(super) fn filter(&mut self, filter: &Filter, place: Place) -> Result<Flow, Error> {
        let Ranks { limit, rest } = ranks(filter);
        self.limits.extend(limit);
        let mut flow = self.flow(&filter.input, place)?;
        for condition in &rest {
            flow.filter(condition)?;
        }
        Ok(flow)
    }

    pub(super) fn alias(&mut self, alias: &SubqueryAlias, place: Place) -> Result<Flow, Error> {
        let mut flow = self.flow(&alias.input, place)?;
        for column in flow.columns.iter_mut().filter(|column| !column.hidden) {
            column.qualifier = Some(alias.alias.clone());
        }
        for column in flow.window.iter_mut().flat_map(|window| &mut window.columns) {
            column.qualifier = Some(alias.alias.clone());
        }
        Ok(flow)
    }
}

impl Flow {
    /// Computes the columns of a SELECT; hidden ones that are still needed stay.
    pub(super) fn project(&mut self, exprs: &[Expr], schema: &DFSchema) -> Result<(), Error> {
        let plain = |expr: &Expr| matches!(unaliased(expr), Expr::Column(_));
        if let Some(window) = &self.window
            && exprs.iter().any(|expr| window.used_by(expr) && !plain(expr))
        {
            self.assign_windows()?;
        }
        let names = self.schema()?;
        let (mut computed, mut moved, mut window_columns) = (vec![], vec![], vec![]);
        for (index, expr) in exprs.iter().enumerate() {
            let (qualifier, field) = schema.qualified_field(index);
            let (qualifier, name) = (qualifier.cloned(), field.name().clone());
            let inner = unaliased(expr);
            if let Expr::Column(column) = inner {
                if let Some(part) = self.window.as_ref().and_then(|window| window.part(column)) {
                    window_columns.push(WindowColumn { qualifier, name, part });
                    continue;
                }
                if let Some(old) = self.index_of(column) {
                    let mut kept = self.kept(old);
                    kept.column = Column {
                        qualifier,
                        name,
                        hidden: false,
                        ..kept.column
                    };
                    computed.push(kept);
                    moved.push(Some(old));
                    continue;
                }
            }
            let time = self.shifted_time(inner);
            let expr = physical(expr, &names)?;
            let data_type = expr.data_type(names.as_arrow())?;
            computed.push(Computed {
                expr,
                column: Column {
                    qualifier,
                    name,
                    data_type,
                    time,
                    hidden: false,
                },
            });
            moved.push(None);
        }
        for old in self.needed_hidden(&moved) {
            let mut kept = self.kept(old);
            kept.column.hidden = true;
            computed.push(kept);
            moved.push(Some(old));
        }
        let time = self.window.as_ref().and_then(|window| window.time);
        let time = time.and_then(|time| moved.iter().position(|&old| old == Some(time)));
        if let Some(window) = &mut self.window {
            window.time = time;
            window.columns = window_columns;
        }
        self.compute(computed, &moved)
    }

    /// What the watermark says about a new column: nothing, unless it is an event time shifted within its watermark.
    fn shifted_time(&self, expr: &Expr) -> Time {
        let time = time_before(expr).and_then(|column| self.index_of(column));
        match time.and_then(|time| self.columns[time].time.disorder()) {
            Some(disorder) => Time::Event { disorder, end: false },
            None => Time::None,
        }
    }

    /// Columns that nobody selected, and without which the selected ones lose their meaning.
    fn needed_hidden(&self, moved: &[Option<usize>]) -> Vec<usize> {
        let mut needed: Vec<usize> = self.time.into_iter().collect();
        needed.extend(self.window.as_ref().and_then(|window| window.time));
        needed.extend(moved.iter().flatten().filter_map(|&old| match self.columns[old].time {
            Time::Relative { of, .. } => Some(of),
            _ => None,
        }));
        needed.extend(
            self.columns
                .iter()
                .position(|column| column.hidden && column.name == DELETED),
        );
        needed.sort_unstable();
        needed.dedup();
        needed.retain(|old| !moved.contains(&Some(*old)));
        needed
    }

    /// Keeps the rows that meet a condition.
    pub(super) fn filter(&mut self, condition: &Expr) -> Result<(), Error> {
        for condition in split_conjunction(condition) {
            check(condition)?;
            if let Some(window) = &mut self.window
                && window.used_by(condition)
            {
                if window.alone_in(condition) {
                    window.keep_filter(condition)?;
                    continue;
                }
                self.assign_windows()?;
            }
            match self.rows {
                Rows::Append(_) => self.filtered(condition)?,
                Rows::Update(_) => self.delete_unless(condition)?,
            }
        }
        Ok(())
    }

    /// A row that changes so that it does not meet a condition any more takes back the one before it.
    fn delete_unless(&mut self, condition: &Expr) -> Result<(), Error> {
        let mut exprs = condition.clone().is_not_true();
        let mut computed: Vec<Computed> = (0..self.columns.len()).map(|index| self.kept(index)).collect();
        let mut moved: Vec<Option<usize>> = (0..self.columns.len()).map(Some).collect();
        let names = self.schema()?;
        if let Some(earlier) = self
            .columns
            .iter()
            .position(|column| column.hidden && column.name == DELETED)
        {
            exprs = Expr::Column(names.columns()[earlier].clone()).or(exprs);
            computed.remove(earlier);
            moved.remove(earlier);
        }
        let expr = physical(&exprs, &names)?;
        let data_type = expr.data_type(names.as_arrow())?;
        let column = Column {
            qualifier: None,
            name: DELETED.to_owned(),
            data_type,
            time: Time::None,
            hidden: true,
        };
        computed.push(Computed { expr, column });
        moved.push(None);
        self.compute(computed, &moved)
    }
}

pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expr => expr,
    }
}
