use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{DFSchema, NullEquality},
    logical_expr::{
        self, Expr, ExprSchemable, JoinType, Operator, type_coercion::binary::comparison_coercion,
        utils::split_conjunction,
    },
};

use super::{
    bound::{self, Range},
    draft::Draft,
    expressions::physical,
    flow::{Column, Computed, Flow, Rows, Time, arrow, names},
    lookup,
    planner::{Place, Planner},
    scan::micros,
};
use crate::{
    Error,
    logical::as_of_time,
    plan::{Join, Node, Operation, TimeBound},
};

impl Planner<'_> {
    pub(super) fn join(&mut self, join: &logical_expr::Join) -> Result<Flow, Error> {
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err(Error::Plan(
                "a join in which NULL equals NULL (INTERSECT, EXCEPT, IS NOT DISTINCT FROM) can't be streamed: compare by =".to_owned(),
            ));
        }
        if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return Err(Error::Plan(
                "EXISTS or IN (SELECT …) under OR can't be streamed: write a query for each case and UNION ALL them"
                    .to_owned(),
            ));
        }
        if join.null_aware {
            return Err(Error::Plan(
                "NOT IN (SELECT …) can't be streamed: write NOT EXISTS".to_owned(),
            ));
        }
        match (lookup::table(&join.left)?, lookup::table(&join.right)?) {
            (None, None)
                if join
                    .filter
                    .iter()
                    .flat_map(split_conjunction)
                    .any(|condition| as_of_time(condition).is_some()) =>
            {
                return Err(Error::Plan(
                    "AS OF asks a table, of which the last row of each key counts; this is a stream: CREATE TABLE … (PRIMARY KEY …) \
                     over its topic, or compute the last rows by a CREATE MATERIALIZED VIEW"
                        .to_owned(),
                ));
            }
            (None, None) => {}
            (None, Some(table)) => return self.lookup(&join.left, table, join, false),
            (Some(table), None) => return self.lookup(&join.right, table, join, true),
            (Some(_), Some(_)) => {
                return Err(Error::Plan(
                    "both sides of the join are tables: nothing flows; ask it once with `rechka sql --batch`"
                        .to_owned(),
                ));
            }
        }
        let mut left = self.flow(&join.left, Place::Under("a join"))?;
        let mut right = self.flow(&join.right, Place::Under("a join"))?;
        left.assign_windows()?;
        right.assign_windows()?;

        let pairs: Vec<Expr> = join
            .on
            .iter()
            .map(|(left, right)| left.clone().eq(right.clone()))
            .collect();
        let conditions = || join.filter.iter().flat_map(split_conjunction).chain(&pairs);
        let bound = self.time_bound(bound::range(conditions(), &left, &right), &left, &right)?;
        let rest: Vec<&Expr> = join
            .filter
            .iter()
            .flat_map(split_conjunction)
            .filter(|condition| !implied(condition, &bound, &left, &right))
            .collect();

        let on = join.on.iter().map(|(one, other)| {
            let data_type = key_type(one, &left.schema()?, other, &right.schema()?)?;
            Ok((left.key(one, &data_type)?, right.key(other, &data_type)?))
        });
        let on: Vec<(usize, usize)> = on.collect::<Result<_, Error>>()?;
        if left.partitions > 1 || right.partitions > 1 {
            let partitions = self.partitions(left.partitions.max(right.partitions), on.len());
            self.exchange(&mut left, &on.iter().map(|on| on.0).collect::<Vec<_>>(), partitions)?;
            self.exchange(&mut right, &on.iter().map(|on| on.1).collect::<Vec<_>>(), partitions)?;
        }
        let on_exprs = on
            .iter()
            .map(|&(one, other)| (left.column(one), right.column(other)))
            .collect();
        let filter = match logical_expr::utils::conjunction(rest.into_iter().cloned()) {
            Some(filter) => Some(physical(
                &filter,
                &names(&[left.columns.as_slice(), &right.columns].concat())?,
            )?),
            None => None,
        };
        let columns = columns(join.join_type, &left, &right, &bound);
        let rows = Rows::Append(key(join.join_type, &left, &right));
        let offset = left.columns.len();
        let (time, together) = match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti => (bound.right, on.iter().map(|on| on.1).collect()),
            JoinType::Right => (bound.right + offset, on.iter().map(|on| on.1 + offset).collect()),
            _ => (bound.left, on.iter().map(|on| on.0).collect()),
        };
        let (partitions, outer) = (left.partitions, join.join_type == JoinType::Full);
        let (mut draft, from) = Draft::merge(vec![(left.draft, left.origin), (right.draft, right.origin)])?;
        let operation = Operation::Join(Join {
            kind: join.join_type,
            on: on_exprs,
            filter,
            bound,
        });
        let origin = draft.push(Node {
            operation,
            from,
            schema: arrow(&columns),
        });
        Ok(Flow {
            draft,
            origin,
            time: Some(time).filter(|&time| columns[time].time != Time::None),
            columns,
            idle: None,
            window: None,
            rows,
            partitions,
            together: Some(together).filter(|_| !outer),
        })
    }

    fn time_bound(&mut self, range: Option<Range>, left: &Flow, right: &Flow) -> Result<TimeBound, Error> {
        self.joins = true;
        let retention = self.options.state_retention.map(micros);
        let whole = || {
            Some(Range {
                left: left.time?,
                right: right.time?,
                lower: None,
                upper: None,
            })
        };
        let closed = range.or_else(whole).and_then(|range| range.closed(retention));
        match closed {
            Some(bound) if bound.lower > bound.upper => {
                Err(Error::Plan("the times that the join asks for contradict each other: no rows can ever meet".to_owned()))
            }
            Some(bound) => Ok(bound),
            None if retention.is_some() => Err(Error::Plan(
                "state_retention counts by event time, and one side of the join has none: declare it (WATERMARK FOR ts AS ts - \
                 INTERVAL '5 seconds')"
                    .to_owned(),
            )),
            None => Err(Error::Plan(
                "this join would have to keep all rows of both sides for ever, because a partner may always still come: bound the \
                 time (… AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '10 minutes'), join windows by their window_end, or say for how \
                 long a row waits (WITH (state_retention = '1 day'))"
                    .to_owned(),
            )),
        }
    }
}

impl Flow {
    /// The index of an expression as a column, computed first if it is more than that.
    pub(super) fn key_of_its_type(&mut self, expr: &Expr) -> Result<usize, Error> {
        let data_type = expr.get_type(&self.schema()?)?;
        self.key(expr, &data_type)
    }

    /// The same, in a type.
    fn key(&mut self, expr: &Expr, data_type: &DataType) -> Result<usize, Error> {
        let names = self.schema()?;
        let plain = if let Expr::Column(column) = expr {
            self.index_of(column)
        } else {
            None
        };
        if let Some(index) = plain.filter(|&index| self.columns[index].data_type == *data_type) {
            return Ok(index);
        }
        let expr = physical(&expr.clone().cast_to(data_type, &names)?, &names)?;
        let index = self.columns.len();
        let mut computed: Vec<Computed> = (0..index).map(|index| self.kept(index)).collect();
        let moved: Vec<Option<usize>> = (0..index).map(Some).chain([None]).collect();
        let name = expr.to_string();
        computed.push(Computed {
            expr,
            column: Column {
                qualifier: None,
                name,
                data_type: data_type.clone(),
                time: Time::None,
                hidden: true,
            },
        });
        self.compute(computed, &moved)?;
        Ok(index)
    }
}

/// The type in which two keys are compared.
pub(super) fn key_type(one: &Expr, left: &DFSchema, other: &Expr, right: &DFSchema) -> Result<DataType, Error> {
    let (one, other) = (one.get_type(left)?, other.get_type(right)?);
    comparison_coercion(&one, &other).ok_or_else(|| {
        Error::Plan(format!(
            "{one} and {other} can't be compared in a join: CAST one of them"
        ))
    })
}

/// Whether a condition of the join says no more than the bound does.
fn implied(condition: &Expr, bound: &TimeBound, left: &Flow, right: &Flow) -> bool {
    let inclusive = match condition {
        Expr::BinaryExpr(comparison) => !matches!(comparison.op, Operator::Lt | Operator::Gt),
        _ => true,
    };
    let said = bound::said(condition, left, right);
    let exact = |index: usize, flow: &Flow| {
        !matches!(
            flow.columns[index].data_type,
            DataType::Timestamp(TimeUnit::Nanosecond, _)
        )
    };
    let whole = match condition {
        Expr::Between(_) => said.len() == 2,
        _ => said.len() == 1,
    };
    inclusive
        && whole
        && exact(bound.left, left)
        && exact(bound.right, right)
        && said.iter().all(|range| {
            (range.left, range.right) == (bound.left, bound.right)
                && range.lower.is_none_or(|lower| lower <= bound.lower)
                && range.upper.is_none_or(|upper| upper >= bound.upper)
        })
}

fn columns(kind: JoinType, left: &Flow, right: &Flow, bound: &TimeBound) -> Vec<Column> {
    let delay = bound.delay();
    let side = |flow: &Flow, offset: usize, may_be_missing: bool| {
        let columns = flow.columns.iter().cloned().map(move |mut column| {
            column.time = match column.time {
                _ if may_be_missing => Time::None,
                Time::Event { disorder, end } => Time::Event {
                    disorder: disorder.saturating_add(delay),
                    end: end && delay == 0,
                },
                Time::Relative { of, offset: length } => Time::Relative {
                    of: of + offset,
                    offset: length,
                },
                Time::None => Time::None,
            };
            column
        });
        columns.collect::<Vec<_>>()
    };
    match kind {
        JoinType::LeftSemi | JoinType::LeftAnti => side(left, 0, false),
        JoinType::RightSemi | JoinType::RightAnti => side(right, 0, false),
        _ => {
            let (left_missing, right_missing) = (
                matches!(kind, JoinType::Right | JoinType::Full),
                matches!(kind, JoinType::Left | JoinType::Full),
            );
            [
                side(left, 0, left_missing),
                side(right, left.columns.len(), right_missing),
            ]
            .concat()
        }
    }
}

/// What tells the pairs apart: both keys. A row without partner has only one of them.
fn key(kind: JoinType, left: &Flow, right: &Flow) -> Option<Vec<usize>> {
    let of = |flow: &Flow| match &flow.rows {
        Rows::Append(key) => key.clone(),
        Rows::Update(key) => Some(key.clone()),
    };
    match kind {
        JoinType::LeftSemi | JoinType::LeftAnti => of(left),
        JoinType::RightSemi | JoinType::RightAnti => of(right),
        JoinType::Inner => {
            let right_key = of(right)?.into_iter().map(|key| key + left.columns.len());
            Some(of(left)?.into_iter().chain(right_key).collect())
        }
        _ => None,
    }
}
