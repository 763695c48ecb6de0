use std::{sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::common::DFSchema;

use super::{
    aggregate::mode_name,
    flow::{Flow, Rows, Time},
    planner::Planner,
};
use crate::{
    Error, Kind, Relation,
    catalog::EventTime,
    plan::{DELETED, Emit, Output, Query},
};

impl Planner<'_> {
    /// The finished query, whose last rows are those of `flow`.
    pub(super) fn finish(mut self, mut flow: Flow, schema: &DFSchema) -> Result<Query, Error> {
        flow.assign_windows()?;
        check_mode(&flow, self.options.mode)?;
        let columns = visible(&flow, schema)?;
        let fields = schema
            .fields()
            .iter()
            .zip(&columns)
            .map(|(field, &column)| Field::new(field.name(), flow.columns[column].data_type.clone(), true));
        let result_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        distinct_names(&result_schema)?;
        let updating = matches!(flow.rows, Rows::Update(_));
        let own_key = own_key(&flow, &columns)?;
        let key = if self.options.key.is_empty() {
            own_key
        } else {
            Some(self.asked_key(&result_schema, own_key, updating)?)
        };
        let kind = match self.options.kind {
            Kind::Stream if updating => Kind::Table,
            kind => kind,
        };
        let key = match (key, kind) {
            (Some(key), _) => key,
            (None, Kind::Stream) => vec![],
            (None, Kind::Table | Kind::View) => {
                return Err(Error::Plan(format!(
                    "{} would be kept by key, and nothing tells its rows apart: select what it is grouped by, name the key (WITH \
                     (key = …)), or CREATE STREAM {0} AS … instead",
                    self.name
                )));
            }
        };
        let event_time = if updating {
            None
        } else {
            self.event_time(&flow, &columns)
        };
        let related = related_times(&flow, &columns, event_time.as_ref());
        let key = self.spread(&mut flow, &columns, key, kind)?;

        let deleted = flow
            .columns
            .iter()
            .position(|column| column.hidden && column.name == DELETED);
        let kept: Vec<usize> = columns.into_iter().chain(deleted).collect();
        let mut written = result_schema.fields().to_vec();
        written.extend(deleted.map(|_| Arc::new(Field::new(DELETED, DataType::Boolean, true))));
        if *flow.draft.schema(flow.origin).fields() != Fields::from(written.clone()) {
            let exprs = kept.iter().map(|&column| flow.column(column)).collect();
            flow.origin = flow
                .draft
                .map(flow.origin, None, exprs, Arc::new(Schema::new(written)))?;
        }
        self.stages.push(flow.draft.finish(flow.origin, Output::Result)?);
        let name: Arc<str> = self.name.into();
        let result = Relation {
            name: Arc::clone(&name),
            kind,
            schema: result_schema,
            event_time,
            related_times: related,
            key,
            topic: self.options.topic.clone().unwrap_or_else(|| Arc::clone(&name)),
            partitions: flow.partitions,
            format: self.options.format.clone(),
            metadata: vec![],
            file: None,
        };
        Ok(Query {
            name,
            result,
            stages: self.stages,
        })
    }

    /// The key that was asked for, by index.
    fn asked_key(&self, schema: &Schema, own: Option<Vec<usize>>, updating: bool) -> Result<Vec<usize>, Error> {
        let place = |name: &Arc<str>| {
            let named = schema
                .fields()
                .iter()
                .position(|field| field.name().eq_ignore_ascii_case(name));
            named.ok_or_else(|| Error::Plan(format!("the key {name} is no column of the result")))
        };
        let key: Vec<usize> = self.options.key.iter().map(place).collect::<Result<_, _>>()?;
        match own {
            Some(own) if updating && own.iter().any(|column| !key.contains(column)) => {
                let names: Vec<_> = own.iter().map(|&column| schema.field(column).name().as_str()).collect();
                Err(Error::Plan(format!(
                    "the rows of this query change, and are told apart by {0}: all of that must be in the key (key = '{0}')",
                    names.join(", ")
                )))
            }
            _ => Ok(key),
        }
    }

    /// Brings rows of the same key into the same partition, and into as many partitions as were asked for. A key that nobody asked
    /// for is given up instead.
    fn spread(&mut self, flow: &mut Flow, columns: &[usize], key: Vec<usize>, kind: Kind) -> Result<Vec<usize>, Error> {
        let partitions = self.options.partitions.unwrap_or(flow.partitions);
        let places: Vec<usize> = key.iter().map(|&key| columns[key]).collect();
        let in_key = |column: &usize| places.iter().any(|&place| stands_for(flow, place, *column));
        let together = flow.partitions == 1 || flow.together.as_ref().is_some_and(|columns| columns.iter().all(in_key));
        if partitions == flow.partitions && (key.is_empty() || together) {
            return Ok(key);
        }
        if partitions == flow.partitions && kind == Kind::Stream && self.options.key.is_empty() {
            return Ok(vec![]);
        }
        let all: Vec<usize> = (0..flow.columns.len()).collect();
        self.exchange(flow, if key.is_empty() { &all } else { &places }, partitions)?;
        Ok(key)
    }

    fn event_time(&self, flow: &Flow, columns: &[usize]) -> Option<EventTime> {
        let disorder = |column: usize| flow.columns[column].time.disorder();
        let main = columns.iter().position(|&column| flow.time == Some(column));
        let column = main.or_else(|| columns.iter().position(|&column| disorder(column).is_some()))?;
        let delay = Duration::from_micros(u64::try_from(disorder(columns[column])?).unwrap_or_default());
        // A window that has closed in one partition may close a moment later in another, which is not idle for that.
        let row_by_row = matches!(flow.columns[columns[column]].time, Time::Event { end: false, .. });
        Some(EventTime {
            column,
            delay,
            idle: self.options.idle.or(flow.idle.filter(|_| row_by_row)),
            ahead: self.options.ahead,
            announced: true,
        })
    }
}

/// The columns that are the event time of the result plus a constant, by index.
fn related_times(flow: &Flow, columns: &[usize], time: Option<&EventTime>) -> Vec<(usize, i64)> {
    let Some(time) = time else { return vec![] };
    let base = |column: usize| match flow.columns[column].time {
        Time::Event { .. } => Some((column, 0)),
        Time::Relative { of, offset } => Some((of, offset)),
        Time::None => None,
    };
    let Some((of, shift)) = base(columns[time.column]) else {
        return vec![];
    };
    let related = columns
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != time.column)
        .filter_map(|(index, &column)| {
            let (own, offset) = base(column)?;
            (own == of).then_some((index, offset - shift))
        });
    related.collect()
}

fn check_mode(flow: &Flow, mode: Option<Emit>) -> Result<(), Error> {
    let refusal = match (mode, &flow.rows) {
        (Some(mode @ Emit::Complete), Rows::Append(_)) => format!(
            "mode '{}' writes all groups again and again, and this query has no groups (or writes them once): use mode 'append'",
            mode_name(mode)
        ),
        (Some(Emit::Append), Rows::Update(_)) => {
            "mode 'append' writes rows once, and the rows of this query change: use mode 'update'".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::Plan(refusal))
}

/// Where each column of the result is.
fn visible(flow: &Flow, schema: &DFSchema) -> Result<Vec<usize>, Error> {
    let place = |column| {
        flow.index_of(column)
            .ok_or_else(|| Error::Plan(format!("the plan has lost the column {column}")))
    };
    schema.columns().iter().map(place).collect()
}

/// Whether rows that are equal in one column are equal in another: of a window, any time stands for the end.
fn stands_for(flow: &Flow, column: usize, other: usize) -> bool {
    column == other || matches!(flow.columns[column].time, Time::Relative { of, .. } if of == other)
}

/// The columns of the result by which its rows are told apart.
fn own_key(flow: &Flow, columns: &[usize]) -> Result<Option<Vec<usize>>, Error> {
    let (Rows::Append(Some(key)) | Rows::Update(key)) = &flow.rows else {
        return Ok(None);
    };
    let place = |key: &usize| {
        let exact = columns.iter().position(|column| column == key);
        exact.or_else(|| columns.iter().position(|&column| stands_for(flow, column, *key)))
    };
    let lost: Vec<_> = key
        .iter()
        .filter(|key| place(key).is_none())
        .map(|&key| flow.columns[key].name.as_str())
        .collect();
    if !lost.is_empty() && matches!(flow.rows, Rows::Update(_)) {
        return Err(Error::Plan(format!(
            "the rows of this query change, and are told apart by {0}: add {0} to the SELECT",
            lost.join(", ")
        )));
    }
    Ok(key.iter().map(place).collect())
}

fn distinct_names(schema: &Schema) -> Result<(), Error> {
    for (index, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..index]
            .iter()
            .any(|other| other.name() == field.name())
        {
            return Err(Error::Plan(format!(
                "two columns of the result are called {}: give one another name (AS other_name)",
                field.name()
            )));
        }
    }
    Ok(())
}
