use datafusion::{
    common::{self, ScalarValue},
    logical_expr::{
        self, BinaryExpr, Expr, Filter, LogicalPlan, Operator, WindowFunctionDefinition, expr::WindowFunction,
        utils::split_conjunction,
    },
};

use super::{
    expressions::{no_window_function, physical_order},
    flow::{Column, Flow, Rows, Time},
    planner::{Place, Planner},
    project::unaliased,
};
use crate::{
    Error,
    plan::{Closing, Emit, Operation, TopN},
};

/// What a filter says about a row number below it.
pub(super) struct Ranks {
    /// The greatest row number that it lets through.
    pub limit: Option<u64>,
    /// The conditions that remain to be asked.
    pub rest: Vec<Expr>,
}

/// Reads the limit of a row number off a filter above it.
pub(super) fn ranks(filter: &Filter) -> Ranks {
    let mut ranks = Ranks {
        limit: None,
        rest: vec![],
    };
    for condition in split_conjunction(&filter.predicate) {
        let said = comparison(condition).filter(|(column, ..)| is_row_number(column, &filter.input));
        match said {
            Some((_, Operator::LtEq, limit)) => ranks.narrow(limit),
            Some((_, Operator::Lt, limit)) => ranks.narrow(limit.saturating_sub(1)),
            Some((_, Operator::Eq, 1)) => ranks.narrow(1),
            Some((_, Operator::Eq, limit)) => {
                ranks.narrow(limit);
                ranks.rest.push(condition.clone());
            }
            _ => ranks.rest.push(condition.clone()),
        }
    }
    ranks
}

impl Ranks {
    fn narrow(&mut self, limit: u64) {
        self.limit = Some(self.limit.map_or(limit, |known| known.min(limit)));
    }
}

/// `column op number`, in this order.
fn comparison(condition: &Expr) -> Option<(&common::Column, Operator, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(number, _)) => Some((column, *op, whole(number)?)),
        (Expr::Literal(number, _), Expr::Column(column)) => Some((column, op.swap()?, whole(number)?)),
        _ => None,
    }
}

fn whole(number: &ScalarValue) -> Option<u64> {
    match number {
        ScalarValue::UInt64(Some(number)) => Some(*number),
        ScalarValue::Int64(Some(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Whether a column is a row number that nothing has touched.
fn is_row_number(column: &common::Column, plan: &LogicalPlan) -> bool {
    let Some(index) = plan.schema().maybe_index_of_column(column) else {
        return false;
    };
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_row_number(
            &common::Column::from(alias.input.schema().qualified_field(index)),
            &alias.input,
        ),
        LogicalPlan::Projection(projection) => match unaliased(&projection.expr[index]) {
            Expr::Column(column) => is_row_number(column, &projection.input),
            _ => false,
        },
        LogicalPlan::Window(window) => index >= window.input.schema().fields().len(),
        _ => false,
    }
}

impl Planner<'_> {
    pub(super) fn rank(&mut self, window: &logical_expr::Window, place: Place) -> Result<Flow, Error> {
        let function = row_number(window)?;
        let Some(limit) = self.limits.pop() else {
            return Err(Error::Plan(
                "ROW_NUMBER() without a bound would keep all rows for ever: take the first ones by a filter around it \
                 (SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) AS rank FROM …) WHERE rank <= 10)"
                    .to_owned(),
            ));
        };
        let mut flow = self.flow(&window.input, Place::Under("ROW_NUMBER()"))?;
        flow.assign_windows()?;
        let partition = function
            .params
            .partition_by
            .iter()
            .map(|expr| flow.key_of_its_type(expr));
        let partition: Vec<usize> = partition.collect::<Result<_, _>>()?;
        let names = flow.schema()?;
        let order = physical_order(&function.params.order_by, &names)?;
        let closing = closing(&flow, &partition, function, place)?;

        let colocated = flow
            .together
            .as_ref()
            .is_some_and(|columns| columns.iter().all(|c| partition.contains(c)));
        if flow.partitions > 1 && !colocated {
            let partitions = self.partitions(flow.partitions, partition.len());
            self.exchange(&mut flow, &partition, partitions)?;
        }
        let (qualifier, field) = window.schema.qualified_field(window.schema.fields().len() - 1);
        let mut columns = flow.columns.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            column.time = match (closing, column.time) {
                (Closing::WindowEnd(end), time) if index == end => time,
                (Closing::WindowEnd(end), time @ Time::Relative { of, .. }) if of == end => time,
                (Closing::EventTime(own), time) if index == own => time,
                _ => Time::None,
            };
        }
        let rank = columns.len();
        columns.push(Column {
            qualifier: qualifier.cloned(),
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            time: Time::None,
            hidden: false,
        });
        flow.time = match closing {
            Closing::WindowEnd(time) | Closing::EventTime(time) => Some(time),
            Closing::Never => None,
        };
        let key: Vec<usize> = partition.iter().copied().chain((limit > 1).then_some(rank)).collect();
        flow.rows = match closing {
            Closing::Never => Rows::Update(key),
            _ => Rows::Append(Some(key)),
        };
        let partition = partition.iter().map(|&index| flow.column(index)).collect();
        flow.then(
            Operation::TopN(TopN {
                partition,
                order,
                limit,
                closing,
            }),
            columns,
        );
        Ok(flow)
    }
}

fn row_number(window: &logical_expr::Window) -> Result<&WindowFunction, Error> {
    let refuse = |name: &str| Err(Error::Plan(no_window_function(name)));
    match window.window_expr.as_slice() {
        [expr] => match unaliased(expr) {
            Expr::WindowFunction(function) => match &function.fun {
                WindowFunctionDefinition::WindowUDF(own) if own.name() == "row_number" => Ok(function),
                other => refuse(other.name()),
            },
            other => refuse(&other.to_string()),
        },
        _ => refuse("more than one function"),
    }
}

/// When the first rows of a group are known for good.
fn closing(flow: &Flow, partition: &[usize], function: &WindowFunction, place: Place) -> Result<Closing, Error> {
    let window_end = partition.iter().find_map(|&index| match flow.columns[index].time {
        Time::Event { end: true, .. } => Some(index),
        Time::Relative { of, .. } if matches!(flow.columns[of].time, Time::Event { end: true, .. }) => Some(of),
        _ => None,
    });
    let event_time = function
        .params
        .order_by
        .first()
        .filter(|order| order.asc)
        .and_then(|order| {
            let Expr::Column(column) = &order.expr else { return None };
            flow.index_of(column)
                .filter(|&index| matches!(flow.columns[index].time, Time::Event { .. }))
        });
    let known = window_end
        .map(Closing::WindowEnd)
        .or(event_time.map(Closing::EventTime));
    match (known, place) {
        (_, Place::Result(Some(Emit::Complete))) => Err(Error::Plan(
            "mode 'complete' writes all groups of an aggregate again and again, and ROW_NUMBER() has none: use mode 'update'"
                .to_owned(),
        )),
        (None, Place::Under(taker)) => Err(Error::Plan(format!(
            "the ranks of ROW_NUMBER() change as long as the query runs, and {taker} can't take rows back: rank within windows \
             (PARTITION BY …, window_end), or number by event time, the first first (ORDER BY ts)"
        ))),
        (None, Place::Result(Some(Emit::Append))) => Err(Error::Plan(
            "mode 'append' writes a rank when it is final, and these never are: rank within windows (PARTITION BY …, window_end), \
             number by event time, the first first (ORDER BY ts), or use mode 'update'"
                .to_owned(),
        )),
        (_, Place::Result(Some(Emit::Update))) | (None, Place::Result(None)) => Ok(Closing::Never),
        (Some(closing), _) => Ok(closing),
    }
}
