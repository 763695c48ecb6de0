use arrow::datatypes::DataType;
use datafusion::{
    common::{
        self, ScalarValue, TableReference,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::Expr,
};

use super::{
    flow::{Column, Computed, Flow, Rows, Time},
    planner::{Place, Planner},
};
use crate::{
    Error,
    logical::{WINDOW_END, WINDOW_START, WINDOW_TIME, WindowNode},
    plan::{Operation, Window},
};

/// Of the end of a window, to its last moment, in microseconds.
pub(super) const LAST_MOMENT: i64 = -1000;

/// A window function whose windows are not assigned to rows yet. Its columns don't exist: only names of them.
#[derive(Clone, Debug)]
pub(super) struct Windowing {
    /// The column with the event time; `None`: processing time.
    pub time: Option<usize>,
    pub window: Window,
    /// Type of the window columns.
    pub data_type: DataType,
    /// Names of the window columns.
    pub columns: Vec<WindowColumn>,
    /// Conditions on window columns alone, which can as well be asked of the groups. The columns go by [`Part::name`].
    pub filters: Vec<Expr>,
}

/// A name for one of the columns of a window.
#[derive(Clone, Debug)]
pub(super) struct WindowColumn {
    pub qualifier: Option<TableReference>,
    pub name: String,
    pub part: Part,
}

/// What a window column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Start,
    End,
    Time,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => WINDOW_START,
            Self::End => WINDOW_END,
            Self::Time => WINDOW_TIME,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// What the watermark says about the column, if the end of the window is in column `end`.
    pub(super) fn time(self, window: Window, end: usize) -> Time {
        match (self, window) {
            (Self::End, _) => Time::Event { disorder: 0, end: true },
            (Self::Time, _) => Time::Relative {
                of: end,
                offset: LAST_MOMENT,
            },
            (Self::Start, Window::Hop { size, .. }) => Time::Relative { of: end, offset: -size },
            (Self::Start, _) => Time::None,
        }
    }
}

impl Windowing {
    /// Which window column a column of the logical plan is.
    pub(super) fn part(&self, column: &common::Column) -> Option<Part> {
        let named = self.columns.iter().find(|own| {
            own.name == column.name
                && match (&own.qualifier, &column.relation) {
                    (Some(own), Some(asked)) => own.resolved_eq(asked),
                    (_, asked) => asked.is_none(),
                }
        });
        named.map(|column| column.part)
    }

    /// Whether an expression uses a window column.
    pub(super) fn used_by(&self, expr: &Expr) -> bool {
        expr.column_refs().iter().any(|column| self.part(column).is_some())
    }

    /// Whether an expression uses window columns and no others.
    pub(super) fn alone_in(&self, expr: &Expr) -> bool {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| self.part(column).is_some())
    }

    /// Asks a condition later, when the windows are there.
    pub(super) fn keep_filter(&mut self, condition: &Expr) -> Result<(), Error> {
        let condition = replace_columns(condition, |column| {
            self.part(column)
                .map(|part| Expr::Column(common::Column::new_unqualified(part.name())))
        })?;
        self.filters.push(condition);
        Ok(())
    }

    /// The conditions, over these columns.
    pub(super) fn filters_over(&self, start: &Expr, end: &Expr) -> Result<Vec<Expr>, Error> {
        let part = |column: &common::Column| match Part::named(&column.name)? {
            Part::Start => Some(start.clone()),
            Part::End => Some(end.clone()),
            Part::Time => Some(before_end(end)),
        };
        self.filters
            .iter()
            .map(|filter| replace_columns(filter, part))
            .collect()
    }
}

/// The last millisecond of a window.
pub(super) fn before_end(end: &Expr) -> Expr {
    end.clone() - Expr::Literal(ScalarValue::new_interval_mdn(0, 0, 1_000_000), None)
}

fn replace_columns(expr: &Expr, by: impl Fn(&common::Column) -> Option<Expr>) -> Result<Expr, Error> {
    let replaced = expr.clone().transform_up(|expr| {
        let new = if let Expr::Column(column) = &expr {
            by(column)
        } else {
            None
        };
        Ok(new.map_or_else(|| Transformed::no(expr), Transformed::yes))
    });
    Ok(replaced.data()?)
}

impl Planner<'_> {
    pub(super) fn window(&mut self, node: &WindowNode) -> Result<Flow, Error> {
        let mut flow = self.flow(&node.input, Place::Under("a window function"))?;
        flow.assign_windows()?;
        let time = match &node.time {
            Some(column) => Some(flow.event_time(column)?),
            None => None,
        };
        let first = node.window_columns();
        let columns = Part::ALL.iter().enumerate().map(|(index, &part)| {
            let (qualifier, field) = node.schema.qualified_field(first + index);
            WindowColumn {
                qualifier: qualifier.cloned(),
                name: field.name().clone(),
                part,
            }
        });
        flow.window = Some(Windowing {
            time,
            window: node.window,
            data_type: node.schema.field(first).data_type().clone(),
            columns: columns.collect(),
            filters: vec![],
        });
        Ok(flow)
    }
}

impl Flow {
    /// The index of a column that must be an event time.
    pub(super) fn event_time(&self, column: &common::Column) -> Result<usize, Error> {
        let index = self.index_of(column);
        match index.filter(|&index| self.columns[index].time.disorder().is_some()) {
            Some(index) => Ok(index),
            None => Err(Error::Plan(format!(
                "{} is no event time that the watermark knows of: declare it in CREATE STREAM (WATERMARK FOR {0} AS {0} - \
                 INTERVAL '5 seconds'), and pass it on unchanged",
                column.name
            ))),
        }
    }

    /// Gives each row its windows, if that is still to be done.
    pub(super) fn assign_windows(&mut self) -> Result<(), Error> {
        let Some(windowing) = self.window.take() else {
            return Ok(());
        };
        if let Window::Session { .. } = windowing.window {
            return Err(Error::Plan(
                "a session is known only when its rows are grouped: GROUP BY its key, window_start and window_end directly over \
                 SESSION(…), and do the rest around that"
                    .to_owned(),
            ));
        }
        let end = self.columns.len() + 1;
        let mut columns = self.columns.clone();
        columns.extend(Part::ALL.map(|part| Column {
            qualifier: None,
            name: part.name().to_owned(),
            data_type: windowing.data_type.clone(),
            time: match windowing.time {
                Some(_) => part.time(windowing.window, end),
                None => Time::None,
            },
            hidden: true,
        }));
        self.then(
            Operation::AssignWindows {
                time: windowing.time,
                window: windowing.window,
            },
            columns,
        );
        let repeats = !matches!(windowing.window, Window::Hop { size, slide, .. } if size == slide);
        if let Rows::Append(Some(key)) = &mut self.rows
            && repeats
        {
            // A row is one for each of its windows now.
            key.push(end);
        }
        let mut kept: Vec<Computed> = (0..self.columns.len()).map(|index| self.kept(index)).collect();
        let mut moved: Vec<Option<usize>> = (0..self.columns.len()).map(Some).collect();
        for column in &windowing.columns {
            let index = end - 1
                + Part::ALL
                    .iter()
                    .position(|&part| part == column.part)
                    .unwrap_or_default();
            let mut named = self.kept(index);
            named.column.qualifier = column.qualifier.clone();
            named.column.name = column.name.clone();
            named.column.hidden = false;
            if self.columns[index].hidden {
                self.columns[index] = named.column.clone();
                kept[index] = named;
            } else {
                kept.push(named);
                moved.push(Some(index));
            }
        }
        self.compute(kept, &moved)?;
        let names = self.schema()?.columns();
        let column = |index: usize| Expr::Column(names[index].clone());
        for filter in windowing.filters_over(&column(end - 1), &column(end))? {
            self.filtered(&filter)?;
        }
        Ok(())
    }
}
