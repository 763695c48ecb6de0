//! Nexmark's queries, what `EXPLAIN` shows, and every refusal.
mod bounds;
mod consistent;
mod explained;
mod nexmark;
mod pipelines;
mod planned;
mod refused;
mod speech;
mod watched;

use std::{sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rechka_formats::Format;

use super::{Options, explain, plan_query};
use crate::{Catalog, Error, EventTime, Kind, Query, Relation, logical::logical_plan, plan};

const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

fn relation(name: &str, kind: Kind, columns: &[(&str, DataType)], time: Option<usize>) -> Relation {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), true))
        .collect();
    Relation {
        name: name.into(),
        kind,
        schema: Arc::new(Schema::new(fields)),
        event_time: time.map(|column| EventTime {
            column,
            delay: Duration::from_secs(4),
            idle: None,
            ahead: Duration::from_secs(3600),
            announced: false,
        }),
        related_times: vec![],
        key: if kind == Kind::Stream { vec![] } else { vec![0] },
        topic: name.into(),
        partitions: 1,
        format: Format::Json,
        metadata: vec![],
        file: None,
    }
}

fn relations() -> Vec<Relation> {
    use DataType::{Int64, Utf8};
    let tags = DataType::new_list(Utf8, true);
    vec![
        relation(
            "bid",
            Kind::Stream,
            &[
                ("auction", Int64),
                ("bidder", Int64),
                ("price", Int64),
                ("channel", Utf8),
                ("url", Utf8),
                ("dateTime", TIME),
                ("extra", Utf8),
            ],
            Some(5),
        ),
        relation(
            "auction",
            Kind::Stream,
            &[
                ("id", Int64),
                ("itemName", Utf8),
                ("initialBid", Int64),
                ("reserve", Int64),
                ("dateTime", TIME),
                ("expires", TIME),
                ("seller", Int64),
                ("category", Int64),
                ("extra", Utf8),
            ],
            Some(4),
        ),
        relation(
            "person",
            Kind::Stream,
            &[
                ("id", Int64),
                ("name", Utf8),
                ("city", Utf8),
                ("state", Utf8),
                ("dateTime", TIME),
                ("extra", Utf8),
            ],
            Some(4),
        ),
        relation(
            "clicks",
            Kind::Stream,
            &[("user", Int64), ("item", Int64), ("tags", tags), ("ts", TIME)],
            Some(3),
        ),
        relation("timeless", Kind::Stream, &[("id", Int64), ("name", Utf8)], None),
        relation(
            "items",
            Kind::Table,
            &[("id", Int64), ("name", Utf8), ("price", Int64)],
            None,
        ),
        relation(
            "prices",
            Kind::Table,
            &[("id", Int64), ("price", Int64), ("since", TIME)],
            Some(2),
        ),
        relation("rates", Kind::View, &[("id", Int64), ("rate", DataType::Float64)], None),
    ]
}

fn catalog(partitions: u32) -> Catalog {
    let mut catalog = Catalog::default();
    for relation in relations() {
        catalog.declare_relation(Relation { partitions, ..relation }).unwrap();
    }
    catalog
}

fn plan_in(catalog: &Catalog, sql: &str, options: &Options) -> Result<plan::Query, Error> {
    let query = plan_query("q", logical_plan(catalog, &Query::parse(sql)?)?, options)?;
    consistent::check(&query);
    Ok(query)
}

/// The plan of a query over streams of one partition.
fn planned(sql: &str) -> plan::Query {
    plan_in(&catalog(1), sql, &Options::default()).unwrap()
}

/// Why a query is refused.
fn refused(sql: &str, options: &Options) -> String {
    plan_in(&catalog(1), sql, options).unwrap_err().to_string()
}

fn view() -> Options {
    Options {
        kind: Kind::View,
        ..Options::default()
    }
}

fn mode(mode: plan::Emit) -> Options {
    Options {
        mode: Some(mode),
        ..Options::default()
    }
}
