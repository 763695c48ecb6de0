use std::{sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::{
    common::{self, DFSchema, TableReference},
    logical_expr,
    physical_expr::expressions,
};

use super::{draft::Draft, expressions::physical, window::Windowing};
use crate::{
    Error,
    plan::{Expr, Node, Operation, Origin},
};

/// Rows on their way through the query that is being planned.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// The stage in which they are.
    pub draft: Draft,
    /// Where in it.
    pub origin: Origin,
    /// Their columns.
    pub columns: Vec<Column>,
    /// The event time: the column by which the watermark moves on, hidden or not.
    pub time: Option<usize>,
    /// After so long without records a partition of the source holds nobody up. What is derived from it row by row inherits that.
    pub idle: Option<Duration>,
    /// A window function whose windows are not assigned yet: an aggregate may do both at once.
    pub window: Option<Windowing>,
    /// Whether rows replace earlier ones, and by which key.
    pub rows: Rows,
    /// In how many partitions they are.
    pub partitions: u32,
    /// Rows that are equal in these columns are in the same partition. `None`: nothing is known.
    pub together: Option<Vec<usize>>,
}

/// A column of a flow. Hidden ones are not known to the logical plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub qualifier: Option<TableReference>,
    pub name: String,
    pub data_type: DataType,
    pub time: Time,
    pub hidden: bool,
}

/// What the watermark says about a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// Nothing.
    None,
    /// Rows come with times not before the watermark, and at most `disorder` µs before the greatest so far.
    Event {
        /// In microseconds.
        disorder: i64,
        /// Whether it is the end of a window: then rows come with times after the watermark.
        end: bool,
    },
    /// The event time in the column `of`, plus `offset` µs.
    Relative {
        /// An index.
        of: usize,
        /// In microseconds.
        offset: i64,
    },
}

impl Time {
    /// If the column can serve as event time: how far rows come out of order. The last millisecond before an event time can, because
    /// windows end on whole milliseconds.
    pub(super) fn disorder(self) -> Option<i64> {
        match self {
            Self::Event { disorder, .. } => Some(disorder),
            Self::Relative { offset: -1000..=0, .. } => Some(0),
            _ => None,
        }
    }
}

/// Whether rows stand for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// They do. The key names them, if there is one.
    Append(Option<Vec<usize>>),
    /// A row replaces the one before it with the same key.
    Update(Vec<usize>),
}

/// A column to be computed.
pub(super) struct Computed {
    pub expr: Expr,
    pub column: Column,
}

impl Flow {
    /// The columns as the engine has them.
    pub(super) fn arrow(&self) -> SchemaRef {
        arrow(&self.columns)
    }

    /// The columns under the names by which expressions know them.
    pub(super) fn schema(&self) -> Result<DFSchema, Error> {
        names(&self.columns)
    }

    /// Where a column of the logical plan is.
    pub(super) fn index_of(&self, column: &common::Column) -> Option<usize> {
        let named = |own: &&Column| !own.hidden && own.name == column.name;
        let exact = self
            .columns
            .iter()
            .position(|own| named(&own) && own.qualifier == column.relation);
        exact.or_else(|| {
            let resolves = |own: &Column| match (&own.qualifier, &column.relation) {
                (Some(own), Some(asked)) => own.resolved_eq(asked),
                (_, asked) => asked.is_none(),
            };
            self.columns.iter().position(|own| named(&own) && resolves(own))
        })
    }

    /// An expression that gives a column as it is.
    pub(super) fn column(&self, index: usize) -> Expr {
        Arc::new(expressions::Column::new(&self.columns[index].name, index))
    }

    pub(super) fn kept(&self, index: usize) -> Computed {
        Computed {
            expr: self.column(index),
            column: self.columns[index].clone(),
        }
    }

    /// Keeps the rows for which `filter` is true.
    pub(super) fn filtered(&mut self, filter: &logical_expr::Expr) -> Result<(), Error> {
        self.filtered_over(filter, &self.schema()?)
    }

    /// The same, when the columns go by other names in the filter.
    pub(super) fn filtered_over(&mut self, filter: &logical_expr::Expr, names: &DFSchema) -> Result<(), Error> {
        let filter = physical(filter, names)?;
        let columns = (0..self.columns.len()).map(|index| self.column(index)).collect();
        let schema = self.arrow();
        self.origin = self.draft.map(self.origin, Some(filter), columns, schema)?;
        Ok(())
    }

    /// Computes new columns instead of the present ones. `moved` says for each new column which present one it is, if it is
    /// one; times, keys and partitions follow from that.
    pub(super) fn compute(&mut self, computed: Vec<Computed>, moved: &[Option<usize>]) -> Result<(), Error> {
        let place = |old: usize| moved.iter().position(|&from| from == Some(old));
        let places = |old: &Vec<usize>| old.iter().map(|&old| place(old)).collect::<Option<Vec<_>>>();
        self.time = self.time.and_then(place);
        self.together = self.together.as_ref().and_then(places);
        self.rows = match &self.rows {
            Rows::Append(key) => Rows::Append(key.as_ref().and_then(places)),
            Rows::Update(key) => Rows::Update(places(key).ok_or_else(|| self.key_lost(key, moved))?),
        };
        let identical = computed.len() == self.columns.len() && moved.iter().enumerate().all(|(i, &m)| m == Some(i));
        let (exprs, mut columns): (Vec<_>, Vec<_>) = computed.into_iter().map(|c| (c.expr, c.column)).unzip();
        for column in &mut columns {
            column.time = match column.time {
                Time::Relative { of, offset } => place(of).map_or(Time::None, |of| Time::Relative { of, offset }),
                time => time,
            };
        }
        self.columns = columns;
        if !identical {
            let schema = self.arrow();
            self.origin = self.draft.map(self.origin, None, exprs, schema)?;
        }
        Ok(())
    }

    fn key_lost(&self, key: &[usize], moved: &[Option<usize>]) -> Error {
        let lost = key.iter().filter(|&&key| !moved.contains(&Some(key)));
        let names: Vec<_> = lost.map(|&key| self.columns[key].name.as_str()).collect();
        Error::Plan(format!(
            "the rows of this query change, and are told apart by {}: add {} to the SELECT",
            names.join(", "),
            if names.len() == 1 { "it" } else { "them" },
        ))
    }

    /// Adds an operator that reads this flow; the columns are those of its result.
    pub(super) fn then(&mut self, operation: Operation, columns: Vec<Column>) {
        self.columns = columns;
        let schema = self.arrow();
        self.origin = self.draft.push(Node {
            operation,
            from: vec![self.origin],
            schema,
        });
    }
}

/// Columns under the names by which expressions know them; hidden ones under names that nobody gives a column.
pub(super) fn names(columns: &[Column]) -> Result<DFSchema, Error> {
    let fields = columns.iter().enumerate().map(|(index, column)| {
        let (qualifier, name) = match column.hidden {
            true => (None, format!("{}#{index}", column.name)),
            false => (column.qualifier.clone(), column.name.clone()),
        };
        (qualifier, Arc::new(Field::new(name, column.data_type.clone(), true)))
    });
    Ok(DFSchema::new_with_metadata(fields.collect(), Default::default())?)
}

/// Columns as the engine has them: all nullable.
pub(super) fn arrow(columns: &[Column]) -> SchemaRef {
    let fields: Vec<_> = columns
        .iter()
        .map(|column| Field::new(&column.name, column.data_type.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}
