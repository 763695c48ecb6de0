use datafusion::{
    common::DFSchema,
    logical_expr::{self, Expr, ExprSchemable, LogicalPlan},
};

use super::{
    draft::Draft,
    expressions::physical,
    flow::{Column, Computed, Flow, Rows, Time, arrow},
    planner::{Place, Planner},
};
use crate::{
    Error,
    plan::{Node, Operation},
};

impl Planner<'_> {
    pub(super) fn union(&mut self, union: &logical_expr::Union) -> Result<Flow, Error> {
        let mut flows = vec![];
        for input in &union.inputs {
            let mut flow = self.flow(input, Place::Under("UNION ALL"))?;
            flow.assign_windows()?;
            flow.conform(input, &union.schema)?;
            flows.push(flow);
        }
        let partitions = flows.iter().map(|flow| flow.partitions).max().unwrap_or(1);
        for flow in flows.iter_mut().filter(|flow| flow.partitions != partitions) {
            let all: Vec<usize> = (0..flow.columns.len()).collect();
            self.exchange(flow, &all, partitions)?;
        }
        let mut columns: Vec<Column> = flows.first().map(|flow| flow.columns.clone()).unwrap_or_default();
        for flow in &flows {
            for (column, other) in columns.iter_mut().zip(&flow.columns) {
                column.time = common_time(column.time, other.time);
            }
        }
        let time = columns
            .iter()
            .position(|column| matches!(column.time, Time::Event { .. }));
        let (mut draft, from) = Draft::merge(flows.into_iter().map(|flow| (flow.draft, flow.origin)).collect())?;
        let origin = draft.push(Node {
            operation: Operation::Union,
            from,
            schema: arrow(&columns),
        });
        let rows = Rows::Append(None);
        Ok(Flow {
            draft,
            origin,
            columns,
            time,
            idle: None,
            window: None,
            rows,
            partitions,
            together: None,
        })
    }
}

/// What holds of both.
fn common_time(one: Time, other: Time) -> Time {
    match (one, other) {
        (
            Time::Event { disorder, end },
            Time::Event {
                disorder: other,
                end: also,
            },
        ) => Time::Event {
            disorder: disorder.max(other),
            end: end && also,
        },
        _ if one == other => one,
        _ => Time::None,
    }
}

impl Flow {
    /// Brings the columns that `plan` shows into the order, types and names of `schema`, without any others.
    fn conform(&mut self, plan: &LogicalPlan, schema: &DFSchema) -> Result<(), Error> {
        let names = self.schema()?;
        let (mut computed, mut moved) = (vec![], vec![]);
        for ((qualifier, field), column) in schema.iter().zip(plan.schema().columns()) {
            let old = self
                .index_of(&column)
                .filter(|&old| self.columns[old].data_type == *field.data_type());
            let (expr, time) = match old {
                Some(old) => (self.column(old), self.columns[old].time),
                None => (
                    physical(&Expr::Column(column).cast_to(field.data_type(), &names)?, &names)?,
                    Time::None,
                ),
            };
            let (qualifier, name, data_type) = (qualifier.cloned(), field.name().clone(), field.data_type().clone());
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
            moved.push(old);
        }
        self.compute(computed, &moved)
    }
}
