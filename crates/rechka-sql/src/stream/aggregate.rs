use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    execution::context::ExecutionProps,
    logical_expr::{self, Expr, physical_planning_context::PhysicalPlanningContext},
    physical_expr::aggregate::LoweredAggregateBuilder,
};

use super::{
    expressions::{check, physical},
    flow::{Column, Computed, Flow, Rows, Time},
    grouping::{Grouped, Grouping},
    planner::{Place, Planner},
    window::{LAST_MOMENT, Part, before_end},
};
use crate::{
    Error,
    plan::{Aggregate, AggregateColumn, Emit, Groups, Operation, Phase, Window},
};

impl Planner<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &logical_expr::Aggregate, place: Place) -> Result<Flow, Error> {
        let mut flow = self.flow(&aggregate.input, Place::Under("an aggregate"))?;
        let grouping = Grouping::of(&mut flow, aggregate)?;
        let emit = emit(&grouping, place)?;
        let (functions, function_columns) = functions(&flow, aggregate)?;
        let operation = Aggregate {
            groups: grouping.groups(),
            keys: grouping.keys.iter().map(|key| Arc::clone(&key.expr)).collect(),
            columns: functions,
            phase: Phase::Single,
            emit,
        };
        let mut columns = grouping.columns();
        let end = grouping.end();
        let asked = |key: &usize| grouping.places.contains(&Grouped::Key(*key));
        let key: Vec<usize> = (0..grouping.keys.len())
            .filter(asked)
            .chain(end.filter(|_| grouping.windowing.is_some()))
            .collect();
        flow.time = end.filter(|&end| columns[end].time != Time::None);
        flow.rows = match emit {
            Emit::Append => Rows::Append(Some(key)),
            Emit::Update | Emit::Complete => Rows::Update(key),
        };
        columns.extend(function_columns);
        self.place_aggregate(&mut flow, operation, columns)?;
        label(&mut flow, &grouping, aggregate)?;
        Ok(flow)
    }

    /// Adds the aggregate; in two phases with an exchange in between, if rows of a group may be in several partitions.
    fn place_aggregate(&mut self, flow: &mut Flow, mut aggregate: Aggregate, result: Vec<Column>) -> Result<(), Error> {
        let key_of = |column: &usize| aggregate.keys.iter().position(|key| **key == *flow.column(*column));
        let together = flow
            .together
            .as_ref()
            .and_then(|columns| columns.iter().map(key_of).collect::<Option<Vec<_>>>());
        if flow.partitions == 1 || together.is_some() {
            flow.together = together;
            flow.then(Operation::Aggregate(aggregate), result);
            return Ok(());
        }
        let internal = |name: &str, data_type: DataType| Column {
            qualifier: None,
            name: name.to_owned(),
            data_type,
            time: Time::None,
            hidden: true,
        };
        let mut partial = match aggregate.groups {
            Groups::Windows { .. } => ["start", "end"].map(|name| internal(name, DataType::Int64)).to_vec(),
            Groups::Keys | Groups::Carried { .. } => vec![],
        };
        let keys = partial.len()..partial.len() + aggregate.keys.len();
        partial.extend(result[..aggregate.keys.len()].iter().cloned());
        for column in &aggregate.columns {
            let states = column.function.state_fields()?;
            partial.extend(
                states
                    .iter()
                    .map(|state| internal(state.name(), state.data_type().clone())),
            );
        }
        flow.then(
            Operation::Aggregate(Aggregate {
                phase: Phase::Partial,
                ..aggregate.clone()
            }),
            partial,
        );
        let keys: Vec<usize> = keys.collect();
        let partitions = self.partitions(flow.partitions, keys.len());
        self.exchange(flow, &keys, partitions)?;
        aggregate.phase = Phase::Final;
        aggregate.keys = keys.iter().map(|&key| flow.column(key)).collect();
        flow.then(Operation::Aggregate(aggregate), result);
        flow.together = Some((0..keys.len()).collect());
        Ok(())
    }
}

/// When the results are written.
fn emit(grouping: &Grouping, place: Place) -> Result<Emit, Error> {
    let session = matches!(&grouping.windowing, Some(windowing) if matches!(windowing.window, Window::Session { .. }));
    match (grouping.groups(), place) {
        (Groups::Keys, Place::Under(taker)) => Err(Error::Plan(format!(
            "the inner GROUP BY has no window, so its rows change as long as the query runs, and {taker} can't take rows back: \
             group by a window as well (GROUP BY …, window_start, window_end over TUMBLE(…)), or make the inner query a \
             MATERIALIZED VIEW and join it as a table"
        ))),
        (Groups::Keys, Place::Result(Some(Emit::Append))) => Err(Error::Plan(
            "mode 'append' writes a group when it is complete, and a group without a window never is: group by a window as well \
             (TUMBLE, HOP, SESSION), or use mode 'update'"
                .to_owned(),
        )),
        (Groups::Keys, Place::Result(mode)) => Ok(mode.unwrap_or(Emit::Update)),
        (_, Place::Result(Some(mode @ (Emit::Update | Emit::Complete)))) if session => Err(Error::Plan(format!(
            "mode '{}' would show sessions that grow together later: use mode 'append', which writes a session when it has ended",
            mode_name(mode)
        ))),
        (_, Place::Result(mode)) => Ok(mode.unwrap_or(Emit::Append)),
        (_, Place::Under(_)) => Ok(Emit::Append),
    }
}

pub(super) fn mode_name(mode: Emit) -> &'static str {
    match mode {
        Emit::Append => "append",
        Emit::Update => "update",
        Emit::Complete => "complete",
    }
}

/// The functions of an aggregate and the columns they make.
fn functions(flow: &Flow, aggregate: &logical_expr::Aggregate) -> Result<(Vec<AggregateColumn>, Vec<Column>), Error> {
    let names = flow.schema()?;
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let mut functions = vec![];
    let mut columns = vec![];
    for (index, expr) in aggregate.aggr_expr.iter().enumerate() {
        check(expr)?;
        let (qualifier, field) = aggregate.schema.qualified_field(groups + index);
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let lowered = LoweredAggregateBuilder::new(expr, &names, names.as_arrow(), &props, &context)
            .with_name(field.name())
            .build()?;
        columns.push(Column {
            qualifier: qualifier.cloned(),
            name: field.name().clone(),
            data_type: lowered.aggregate.field().data_type().clone(),
            time: Time::None,
            hidden: false,
        });
        functions.push(AggregateColumn {
            function: lowered.aggregate,
            filter: lowered.filter,
        });
    }
    Ok((functions, columns))
}

/// Gives the columns of the groups the names that the logical plan has for them.
fn label(flow: &mut Flow, grouping: &Grouping, aggregate: &logical_expr::Aggregate) -> Result<(), Error> {
    let mut computed: Vec<Computed> = (0..flow.columns.len()).map(|index| flow.kept(index)).collect();
    let mut moved: Vec<Option<usize>> = (0..flow.columns.len()).map(Some).collect();
    let names = flow.schema()?;
    let column = |index: usize| Expr::Column(names.columns()[index].clone());
    let start = grouping.keys.len();
    for (index, place) in grouping.places.iter().enumerate() {
        let (qualifier, field) = aggregate.schema.qualified_field(index);
        let old = match place {
            Grouped::Key(key) => Some(*key),
            Grouped::Window(Part::Start) => Some(start),
            Grouped::Window(Part::End) => Some(start + 1),
            Grouped::Window(Part::Time) => None,
        };
        let mut new = match old {
            Some(old) => flow.kept(old),
            None => {
                let time = match flow.columns[start + 1].time {
                    Time::None => Time::None,
                    _ => Time::Relative {
                        of: start + 1,
                        offset: LAST_MOMENT,
                    },
                };
                let expr = physical(&before_end(&column(start + 1)), &names)?;
                let data_type = flow.columns[start + 1].data_type.clone();
                Computed {
                    expr,
                    column: Column {
                        qualifier: None,
                        name: String::new(),
                        data_type,
                        time,
                        hidden: false,
                    },
                }
            }
        };
        (new.column.qualifier, new.column.name, new.column.hidden) = (qualifier.cloned(), field.name().clone(), false);
        match old {
            Some(old) if flow.columns[old].hidden => {
                flow.columns[old] = new.column.clone();
                computed[old] = new;
            }
            _ => {
                computed.push(new);
                moved.push(old);
            }
        }
    }
    let filters = match &grouping.windowing {
        Some(windowing) => windowing.filters_over(&column(start), &column(start + 1))?,
        None => vec![],
    };
    for filter in filters {
        flow.filtered_over(&filter, &names)?;
    }
    flow.compute(computed, &moved)
}
