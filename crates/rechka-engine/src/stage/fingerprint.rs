//! Which query a state belongs to: a number that changes with what a stage computes, and with what the stages before it do.
//!
//! It is of what the plan says in words, not of how this program holds it, so that the state of a query outlives new versions of the
//! program. How long a watermark waits is no part of it: that may be changed at any time.
use std::fmt::{Display, Write};

use arrow::datatypes::Schema;
use rechka_sql::{
    Relation,
    plan::{Aggregate, AggregateColumn, Expr, Input, Operation, Output, Query, Source, Stage},
};

/// The fingerprint of each stage.
pub(crate) fn fingerprints(query: &Query) -> Vec<u64> {
    let mut all = Vec::with_capacity(query.stages.len());
    for stage in &query.stages {
        let mut text = words(stage, &all);
        if stage.output == Output::Result {
            let result = &query.result;
            let _ = write!(text, "{:?} {} key {:?}", result.kind, result.topic, result.key);
        }
        all.push(hash(text.as_bytes()));
    }
    all
}

/// FNV-1a (Fowler, Noll, Vo), of 64 bits.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

fn words(stage: &Stage, before: &[u64]) -> String {
    let mut text = String::new();
    for input in &stage.inputs {
        let time = input.event_time.as_ref().map(|time| time.column);
        let (source, columns) = (source(input, before), columns(&input.schema));
        let _ = writeln!(text, "{source} time {time:?}: {columns}");
    }
    for node in &stage.nodes {
        let (operation, columns) = (operation(&node.operation), columns(&node.schema));
        let _ = writeln!(text, "{:?} {operation}: {columns}", node.from);
    }
    if let Output::Exchange { partitions, keys, .. } = &stage.output {
        let _ = writeln!(text, "exchange {partitions} by {}", list(keys));
    }
    text
}

fn source(input: &Input, before: &[u64]) -> String {
    let place = |relation: &Relation| match &relation.file {
        Some(path) => path.display().to_string(),
        None => format!("{} in {}", relation.topic, relation.partitions),
    };
    match &input.source {
        Source::Stream(relation) => format!("stream {}", place(relation)),
        Source::Table(relation) => format!("table {}", place(relation)),
        Source::Exchange(from) => format!("stage {:?}", before.get(*from)),
    }
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Map { filter, columns } => format!("map {} {}", optional(filter), list(columns)),
        Operation::AssignWindows { time, window } => format!("windows {time:?} {window:?}"),
        Operation::Unnest { column, preserve_nulls } => format!("unnest {column} {preserve_nulls}"),
        Operation::Aggregate(own) => aggregate(own),
        Operation::Join(own) => {
            let filter = optional(&own.filter);
            format!("join {:?} {} {filter} {:?}", own.kind, pairs(&own.on), own.bound)
        }
        Operation::Lookup(own) => {
            let filter = optional(&own.filter);
            format!("lookup {:?} {} {filter} {:?}", own.kind, pairs(&own.on), own.as_of)
        }
        Operation::TopN(own) => {
            let (groups, order) = (list(&own.partition), list(&own.order));
            format!("top {} of {groups} by {order} {:?}", own.limit, own.closing)
        }
        Operation::Union => "union".to_owned(),
        Operation::Transcribe(own) => own.to_string(),
    }
}

fn aggregate(own: &Aggregate) -> String {
    let function = |column: &AggregateColumn| {
        let function = &column.function;
        let (name, arguments) = (function.fun().name(), list(&function.expressions()));
        let (distinct, ignore_nulls) = (function.is_distinct(), function.ignore_nulls());
        let (order, filter) = (list(function.order_bys()), optional(&column.filter));
        format!("{name}({arguments}) {distinct} {ignore_nulls} {order} {filter}")
    };
    let functions: Vec<String> = own.columns.iter().map(function).collect();
    let (keys, functions) = (list(&own.keys), functions.join(", "));
    let (groups, phase, emit) = (&own.groups, &own.phase, &own.emit);
    format!("aggregate {groups:?} {keys}: {functions} {phase:?} {emit:?}")
}

fn columns(schema: &Schema) -> String {
    let fields = schema.fields().iter();
    list(
        &fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect::<Vec<_>>(),
    )
}

fn pairs(pairs: &[(Expr, Expr)]) -> String {
    let equal = pairs.iter().map(|(left, right)| format!("{left} = {right}"));
    list(&equal.collect::<Vec<_>>())
}

fn optional(expr: &Option<Expr>) -> String {
    expr.as_ref().map(Expr::to_string).unwrap_or_default()
}

fn list(each: &[impl Display]) -> String {
    each.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
