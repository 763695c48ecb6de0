use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::{
        self, Expr, ExprSchemable, JoinType, LogicalPlan, Projection, TableScan,
        utils::{conjunction, split_conjunction},
    },
    physical_expr::{expressions, utils::conjunction as physical_conjunction},
};

use super::{
    draft::{self, Draft},
    expressions::physical,
    flow::{Column, Flow, Rows, Time, arrow, names},
    join::key_type,
    planner::{Place, Planner},
    project::unaliased,
    scan,
};
use crate::{
    Error, Kind, Relation,
    logical::as_of_time,
    plan::{self, AsOf, Lookup, Node, Operation, Source},
};

/// A table on one side of a join.
pub(super) struct Table {
    relation: Arc<Relation>,
    /// What is read of it, under its present names.
    flow: Flow,
    /// Conditions over what is read.
    filters: Vec<plan::Expr>,
}

/// The table that a plan reads, if it reads one and does no more than choose columns and rows.
pub(super) fn table(plan: &LogicalPlan) -> Result<Option<Table>, Error> {
    let input = match plan {
        LogicalPlan::TableScan(scan) => return Table::scanned(scan),
        LogicalPlan::SubqueryAlias(alias) => &alias.input,
        LogicalPlan::Filter(filter) => &filter.input,
        LogicalPlan::Projection(projection) => &projection.input,
        _ => return Ok(None),
    };
    let Some(mut table) = table(input)? else {
        return Ok(None);
    };
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            table
                .flow
                .columns
                .iter_mut()
                .for_each(|column| column.qualifier = Some(alias.alias.clone()));
        }
        LogicalPlan::Filter(filter) => table.filters.push(physical(&filter.predicate, &table.flow.schema()?)?),
        LogicalPlan::Projection(projection) => table.rename(projection)?,
        _ => {}
    }
    Ok(Some(table))
}

impl Table {
    fn scanned(scan: &TableScan) -> Result<Option<Self>, Error> {
        let relation = scan::relation(scan)?;
        if relation.kind == Kind::Stream {
            return Ok(None);
        }
        let visible = scan::columns(scan);
        let mut read = visible.clone();
        let time = relation.event_time.as_ref().map(|time| &time.column);
        for column in relation.key.iter().chain(time) {
            if !read.contains(column) {
                read.push(*column);
            }
        }
        let columns = read.iter().map(|&index| Column {
            qualifier: Some(scan.table_name.clone()),
            name: relation.schema.field(index).name().clone(),
            data_type: relation.schema.field(index).data_type().clone(),
            time: Time::None,
            hidden: !visible.contains(&index),
        });
        let columns = columns.collect();
        let input = draft::input(relation, read.into_iter(), Source::Table(Arc::clone(relation)));
        let (draft, origin) = Draft::reading(input);
        let flow = Flow {
            draft,
            origin,
            columns,
            time: None,
            idle: None,
            window: None,
            rows: Rows::Append(None),
            partitions: 1,
            together: None,
        };
        Ok(Some(Self {
            relation: Arc::clone(relation),
            flow,
            filters: vec![],
        }))
    }

    /// Gives the columns the names of a SELECT, which must not compute anything.
    fn rename(&mut self, projection: &Projection) -> Result<(), Error> {
        let mut columns = self.flow.columns.clone();
        columns.iter_mut().for_each(|column| column.hidden = true);
        for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
            let place = if let Expr::Column(column) = unaliased(expr) {
                self.flow.index_of(column)
            } else {
                None
            };
            match place.filter(|&place| columns[place].hidden) {
                Some(place) => {
                    let name = field.name().clone();
                    columns[place] = Column {
                        qualifier: qualifier.cloned(),
                        name,
                        hidden: false,
                        ..columns[place].clone()
                    };
                }
                None => {
                    return Err(Error::Plan(format!(
                        "{expr} is computed from the table {} before the join: join the table itself, and compute in the SELECT \
                         around the join",
                        self.relation.name
                    )));
                }
            }
        }
        self.flow.columns = columns;
        Ok(())
    }
}

impl Planner<'_> {
    /// A join of a stream and a table; `swapped`: the table is on the left.
    pub(super) fn lookup(
        &mut self,
        stream: &LogicalPlan,
        table: Table,
        join: &logical_expr::Join,
        swapped: bool,
    ) -> Result<Flow, Error> {
        let mut flow = self.flow(stream, Place::Under("a join"))?;
        flow.assign_windows()?;
        let kind = match (join.join_type, swapped) {
            (JoinType::Inner, _) | (JoinType::LeftSemi, false) | (JoinType::RightSemi, true) => JoinType::Inner,
            (JoinType::Left | JoinType::LeftAnti, false) | (JoinType::Right | JoinType::RightAnti, true) => {
                JoinType::Left
            }
            _ => {
                return Err(Error::Plan(format!(
                    "rows of the table {} that no row of the stream asks for would have to wait for the end of the stream: write \
                     stream LEFT JOIN table, or an inner join",
                    table.relation.name
                )));
            }
        };
        let width = flow.columns.len();
        let (marks, mut filters): (Vec<Expr>, Vec<Expr>) = join
            .filter
            .iter()
            .flat_map(split_conjunction)
            .cloned()
            .partition(|condition| as_of_time(condition).is_some());
        let as_of = match marks.iter().find_map(as_of_time) {
            Some(time) => {
                let stream = flow.event_time(time)?;
                let event = match flow.columns[stream].time {
                    Time::Relative { of, .. } => of,
                    _ => stream,
                };
                let table = table.time()?;
                Some(AsOf { stream, event, table })
            }
            None => None,
        };
        let (mut on, mut covered) = (vec![], vec![]);
        for (left, right) in &join.on {
            let (ours, theirs) = if swapped { (right, left) } else { (left, right) };
            let (stream_names, table_names) = (flow.schema()?, table.flow.schema()?);
            let column = table.key_column(theirs).filter(|column| !covered.contains(column));
            match column {
                Some(column) => {
                    let data_type = key_type(ours, &stream_names, theirs, &table_names)?;
                    let ours = physical(&logical_cast(ours, &data_type, &stream_names)?, &stream_names)?;
                    let theirs = physical(&logical_cast(theirs, &data_type, &table_names)?, &table_names)?;
                    covered.push(column);
                    on.push((ours, theirs));
                }
                None => filters.push(ours.clone().eq(theirs.clone())),
            }
        }
        table.check_key(&covered)?;
        let columns = [flow.columns.as_slice(), &table.flow.columns].concat();
        let both = names(&columns)?;
        let own = conjunction(filters)
            .map(|filter| physical(&filter, &both))
            .transpose()?;
        let pushed = table
            .filters
            .iter()
            .map(|filter| shifted(filter, width))
            .collect::<Result<Vec<_>, _>>()?;
        let all: Vec<plan::Expr> = own.into_iter().chain(pushed).collect();
        let filter = (!all.is_empty()).then(|| physical_conjunction(all));

        let parts = vec![(flow.draft, flow.origin), (table.flow.draft, table.flow.origin)];
        let (mut draft, from) = Draft::merge(parts)?;
        let operation = Operation::Lookup(Lookup {
            kind,
            on,
            filter,
            as_of,
        });
        let origin = draft.push(Node {
            operation,
            from,
            schema: arrow(&columns),
        });
        let mut flow = Flow {
            draft,
            origin,
            columns,
            ..flow
        };
        if matches!(join.join_type, JoinType::LeftAnti | JoinType::RightAnti) {
            let key = flow.schema()?.columns()[width + covered[0]].clone();
            flow.filtered(&Expr::Column(key).is_null())?;
        }
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right) {
            flow.columns[width..].iter_mut().for_each(|column| column.hidden = true);
        }
        Ok(flow)
    }
}

impl Table {
    /// The column of the key that an expression is, cast or not.
    fn key_column(&self, expr: &Expr) -> Option<usize> {
        let column = match expr {
            Expr::Column(column) => self.flow.index_of(column)?,
            Expr::Cast(cast) => return self.key_column(&cast.expr),
            _ => return None,
        };
        self.key().contains(&column).then_some(column)
    }

    /// The key, by index of what is read.
    fn key(&self) -> Vec<usize> {
        let schema = self.flow.draft.schema(self.flow.origin);
        let name = |&key: &usize| self.relation.schema.field(key).name();
        self.relation
            .key
            .iter()
            .filter_map(|key| schema.index_of(name(key)).ok())
            .collect()
    }

    /// The column with the time from which a row is valid.
    fn time(&self) -> Result<usize, Error> {
        match &self.flow.draft.inputs[0].event_time {
            Some(time) => Ok(time.column),
            None => Err(Error::Plan(format!(
                "the table {0} has no time to ask it as of: declare it (CREATE TABLE {0} (…, WATERMARK FOR ts AS ts))",
                self.relation.name
            ))),
        }
    }

    fn check_key(&self, covered: &[usize]) -> Result<(), Error> {
        let key = self.key();
        let name = |&key: &usize| self.relation.schema.field(key).name().as_str();
        let names = self.relation.key.iter().map(name).collect::<Vec<_>>().join(", ");
        if key.is_empty() {
            return Err(Error::Plan(format!(
                "the table {0} has no key to look rows up by: declare one (CREATE TABLE {0} (…, PRIMARY KEY (id)) …)",
                self.relation.name
            )));
        }
        if !key.iter().all(|key| covered.contains(key)) {
            return Err(Error::Plan(format!(
                "the table {0} is looked up by its key ({names}), and the join does not compare all of it: write ON … = {0}.{1}",
                self.relation.name,
                names.replace(", ", &format!(" AND … = {}.", self.relation.name)),
            )));
        }
        Ok(())
    }
}

fn logical_cast(expr: &Expr, data_type: &DataType, names: &DFSchema) -> Result<Expr, Error> {
    Ok(expr.clone().cast_to(data_type, names)?)
}

/// An expression over the columns of a table, over those of a stream followed by those of the table.
fn shifted(expr: &plan::Expr, by: usize) -> Result<plan::Expr, Error> {
    let shifted = Arc::clone(expr).transform_up(|expr| {
        Ok(match expr.downcast_ref::<expressions::Column>() {
            Some(column) => {
                let column: plan::Expr = Arc::new(expressions::Column::new(column.name(), column.index() + by));
                Transformed::yes(column)
            }
            None => Transformed::no(expr),
        })
    });
    Ok(shifted.data()?)
}
