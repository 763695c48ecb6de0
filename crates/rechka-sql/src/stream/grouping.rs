use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::ScalarValue,
    logical_expr::{self, Expr},
};

use super::{
    expressions::physical,
    flow::{Column, Computed, Flow, Time},
    project::unaliased,
    window::{Part, Windowing},
};
use crate::{
    Error,
    plan::{Groups, Window},
};

/// A GROUP BY, taken apart.
pub(super) struct Grouping {
    /// Windows that the aggregate itself assigns.
    pub windowing: Option<Windowing>,
    /// What rows are grouped by besides those; all hidden, as yet without the names of the result.
    pub keys: Vec<Computed>,
    /// For each expression of the GROUP BY, where it is.
    pub places: Vec<Grouped>,
    /// The key that is the end of a window which the rows carry.
    carried: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouped {
    Key(usize),
    Window(Part),
}

impl Grouping {
    /// Leaves the windows of the flow to the aggregate if they are among the groups, and else has them assigned before.
    pub(super) fn of(flow: &mut Flow, aggregate: &logical_expr::Aggregate) -> Result<Self, Error> {
        if let [Expr::GroupingSet(_)] = aggregate.group_expr.as_slice() {
            return Err(Error::Plan(
                "GROUPING SETS, ROLLUP and CUBE can't be streamed: write a query for each set and UNION ALL them"
                    .to_owned(),
            ));
        }
        if flow
            .window
            .as_ref()
            .is_some_and(|windowing| !fits(windowing, aggregate))
        {
            flow.assign_windows()?;
        }
        let windowing = flow.window.take();
        let names = flow.schema()?;
        let mut grouping = Self {
            windowing,
            keys: vec![],
            places: vec![],
            carried: None,
        };
        let mut sources: Vec<Option<usize>> = vec![];
        for group in &aggregate.group_expr {
            let group = unaliased(group);
            if let (Some(windowing), Expr::Column(column)) = (&grouping.windowing, group)
                && let Some(part) = windowing.part(column)
            {
                grouping.places.push(Grouped::Window(part));
                continue;
            }
            let source = if let Expr::Column(column) = group {
                flow.index_of(column)
            } else {
                None
            };
            let key = match source {
                Some(source) => {
                    let mut kept = flow.kept(source);
                    kept.column.time = Time::None;
                    kept
                }
                None => {
                    let expr = physical(group, &names)?;
                    let data_type = expr.data_type(names.as_arrow())?;
                    let name = group.schema_name().to_string();
                    Computed {
                        expr,
                        column: Column {
                            qualifier: None,
                            name,
                            data_type,
                            time: Time::None,
                            hidden: true,
                        },
                    }
                }
            };
            let key = grouping.add(key);
            grouping.places.push(Grouped::Key(key));
            sources.resize(grouping.keys.len(), None);
            sources[key] = source;
        }
        grouping.find_carried(flow, &sources)?;
        Ok(grouping)
    }

    /// Adds a key unless it is there; gives its index.
    fn add(&mut self, mut key: Computed) -> usize {
        key.column.hidden = true;
        if let Some(same) = self.keys.iter().position(|other| *other.expr == *key.expr) {
            return same;
        }
        self.keys.push(key);
        self.keys.len() - 1
    }

    /// Finds the end of a window among the keys. A start (or last moment) determines its end, which is then added; any other event
    /// time ends a moment later.
    fn find_carried(&mut self, flow: &Flow, sources: &[Option<usize>]) -> Result<(), Error> {
        let base = |source: usize| match flow.columns[source].time {
            Time::Relative { of, .. } => of,
            _ => source,
        };
        let is = |source: &usize, window: bool| matches!(flow.columns[*source].time, Time::Event { end, .. } if end == window);
        let mut bases = sources.iter().flatten().map(|&source| base(source));
        let Some(time) = (match self.windowing {
            Some(_) => None,
            None => bases
                .clone()
                .find(|source| is(source, true))
                .or_else(|| bases.find(|source| is(source, false))),
        }) else {
            return Ok(());
        };
        let (end, moment) = if is(&time, true) {
            (flow.kept(time), 0)
        } else {
            moment_after(flow, time)?
        };
        let carried = self.add(end);
        self.carried = Some(carried);
        self.keys[carried].column.time = Time::Event { disorder: 0, end: true };
        for (index, source) in sources.iter().enumerate().filter(|(index, _)| *index != carried) {
            let Some(source) = source.filter(|&source| base(source) == time) else {
                continue;
            };
            let offset = match flow.columns[source].time {
                Time::Relative { offset, .. } => offset,
                _ => 0,
            };
            self.keys[index].column.time = Time::Relative {
                of: carried,
                offset: offset - moment,
            };
        }
        Ok(())
    }

    pub(super) fn groups(&self) -> Groups {
        match (&self.windowing, self.carried) {
            (Some(windowing), _) => Groups::Windows {
                time: windowing.time,
                window: windowing.window,
            },
            (None, Some(end)) => Groups::Carried { end },
            (None, None) => Groups::Keys,
        }
    }

    /// Where the end of the window is among the columns of the result.
    pub(super) fn end(&self) -> Option<usize> {
        self.windowing.as_ref().map(|_| self.keys.len() + 1).or(self.carried)
    }

    /// The columns of the groups in the result.
    pub(super) fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = self.keys.iter().map(|key| key.column.clone()).collect();
        if let Some(windowing) = &self.windowing {
            let end = columns.len() + 1;
            columns.extend([Part::Start, Part::End].map(|part| Column {
                qualifier: None,
                name: part.name().to_owned(),
                data_type: windowing.data_type.clone(),
                time: windowing.time.map_or(Time::None, |_| part.time(windowing.window, end)),
                hidden: true,
            }));
        }
        columns
    }
}

/// Whether an aggregate can assign the windows of its input itself: it groups by them, and uses them for nothing else.
fn fits(windowing: &Windowing, aggregate: &logical_expr::Aggregate) -> bool {
    let part = |expr: &Expr| match unaliased(expr) {
        Expr::Column(column) => windowing.part(column),
        _ => None,
    };
    let identifies = |part: Part| match windowing.window {
        Window::Hop { .. } | Window::Session { .. } => true,
        Window::Cumulate { .. } => part != Part::Start,
    };
    aggregate.group_expr.iter().filter_map(part).any(identifies)
        && aggregate
            .group_expr
            .iter()
            .all(|expr| part(expr).is_some() || !windowing.used_by(expr))
        && !aggregate.aggr_expr.iter().any(|expr| windowing.used_by(expr))
}

/// A column after which no more rows of the same time come, and by how many microseconds it is later.
fn moment_after(flow: &Flow, time: usize) -> Result<(Computed, i64), Error> {
    let moment = match flow.columns[time].data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
        _ => 1,
    };
    let names = flow.schema()?;
    let length = Expr::Literal(ScalarValue::new_interval_mdn(0, 0, moment * 1000), None);
    let expr = physical(&(Expr::Column(names.columns()[time].clone()) + length), &names)?;
    let name = format!("after_{}", flow.columns[time].name);
    Ok((
        Computed {
            expr,
            column: Column {
                name,
                hidden: true,
                ..flow.columns[time].clone()
            },
        },
        moment,
    ))
}
