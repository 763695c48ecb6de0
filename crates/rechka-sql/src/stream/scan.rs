use std::sync::Arc;

use datafusion::logical_expr::TableScan;

use super::{
    draft::{self, Draft},
    flow::{Column, Flow, Rows, Time},
    planner::Planner,
};
use crate::{Error, EventTime, Kind, Relation, logical::RelationSource, plan::Source};

/// The relation that a scan reads.
pub(super) fn relation(scan: &TableScan) -> Result<&Arc<Relation>, Error> {
    match scan.source.downcast_ref::<RelationSource>() {
        Some(source) => Ok(&source.relation),
        None => Err(Error::Plan(format!(
            "{} is not in the catalogue: CREATE STREAM or CREATE TABLE it",
            scan.table_name
        ))),
    }
}

/// The columns that a scan reads; one at least, for rows are counted by them.
pub(super) fn columns(scan: &TableScan) -> Vec<usize> {
    match &scan.projection {
        Some(columns) if columns.is_empty() => vec![],
        Some(columns) => columns.clone(),
        None => (0..scan.source.schema().fields().len()).collect(),
    }
}

impl Planner<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Flow, Error> {
        let relation = relation(scan)?;
        if relation.kind != Kind::Stream {
            return Err(Error::Plan(format!(
                "{0} is a table, which changes but never flows: join a stream to it (FROM stream JOIN {0} ON …), or ask it once \
                 with `rechka sql --batch`",
                relation.name
            )));
        }
        let visible = columns(scan);
        let time = relation.event_time.as_ref();
        let mut read = visible.clone();
        read.extend(time.map(|time| time.column).filter(|column| !visible.contains(column)));
        if read.is_empty() {
            read.push(0);
        }
        let input = draft::input(relation, read.iter().copied(), Source::Stream(Arc::clone(relation)));
        let place = |column: &usize| read.iter().position(|own| own == column);
        let columns = read.iter().map(|&index| {
            let field = relation.schema.field(index);
            Column {
                qualifier: Some(scan.table_name.clone()),
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                time: time
                    .and_then(|time| time_of(relation, time, index, place(&time.column)?))
                    .unwrap_or(Time::None),
                hidden: !visible.contains(&index),
            }
        });
        let columns = columns.collect();
        let key = relation
            .key
            .iter()
            .map(place)
            .collect::<Option<Vec<_>>>()
            .filter(|key| !key.is_empty());
        let (draft, origin) = Draft::reading(input);
        Ok(Flow {
            draft,
            origin,
            columns,
            time: time.and_then(|time| place(&time.column)),
            idle: time.and_then(|time| time.idle),
            window: None,
            rows: Rows::Append(None),
            partitions: relation.partitions,
            together: key,
        })
    }
}

/// What the watermark says about a column of a relation, whose event time is read as column `place`.
fn time_of(relation: &Relation, time: &EventTime, column: usize, place: usize) -> Option<Time> {
    if column == time.column {
        return Some(Time::Event {
            disorder: micros(time.delay),
            end: false,
        });
    }
    let (_, offset) = relation.related_times.iter().find(|(related, _)| *related == column)?;
    Some(Time::Relative {
        of: place,
        offset: *offset,
    })
}

pub(super) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
