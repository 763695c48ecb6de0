use std::sync::Arc;

use datafusion::{
    common::{Result as DataFusionResult, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan, TableScan},
};
use rechka_formats::Format;

use super::{Options, draft, plan_query};
use crate::{
    Error, Kind,
    logical::{RelationSource, Transcription},
    plan::{Emit, Node, Operation, Origin, Output, Query, Source, Stage},
};

/// Plans a query that may use `TRANSCRIBE`: the recognitions that it needs, and last the query itself.
///
/// `SELECT * FROM TRANSCRIBE(…)` writes transcripts straight to the result. Anything else reads them from a stream between,
/// `<name>.transcripts`, which is a query of its own.
///
/// # Errors
/// As [`plan_query`].
pub fn plan_queries(name: &str, plan: LogicalPlan, options: &Options) -> Result<Vec<Query>, Error> {
    if let Some(transcription) = all_of(&plan)
        && writes_transcripts(transcription, options)
    {
        let topic = options.topic.clone().unwrap_or_else(|| name.into());
        return Ok(vec![recognition(transcription, name.into(), topic, options)]);
    }
    let mut recognitions: Vec<(Transcription, Query)> = Vec::new();
    let plan = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::TableScan(scan) = plan else {
            return Ok(Transformed::no(plan));
        };
        let Some(transcription) = scan.source.downcast_ref::<Transcription>() else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let same = recognitions.iter().position(|(other, _)| other == transcription);
        let place = same.unwrap_or_else(|| {
            let inner: Arc<str> = match recognitions.len() {
                0 => format!("{name}.transcripts").into(),
                more => format!("{name}.transcripts.{more}").into(),
            };
            let query = recognition(transcription, Arc::clone(&inner), inner, options);
            recognitions.push((transcription.clone(), query));
            recognitions.len() - 1
        });
        read(scan, &recognitions[place].1).map(Transformed::yes)
    })?;
    let mut queries: Vec<_> = recognitions.into_iter().map(|(_, query)| query).collect();
    queries.push(plan_query(name, plan.data, options)?);
    Ok(queries)
}

/// The same scan of what a query has made.
fn read(mut scan: TableScan, query: &Query) -> DataFusionResult<LogicalPlan> {
    scan.source = Arc::new(RelationSource {
        relation: Arc::new(query.result.clone()),
    });
    Ok(LogicalPlan::TableScan(scan))
}

/// The transcription, if a plan (as written) is all of its columns and nothing else.
fn all_of(plan: &LogicalPlan) -> Option<&Transcription> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => all_of(&alias.input),
        LogicalPlan::TableScan(scan) if scan.projection.is_none() && scan.filters.is_empty() => {
            scan.source.downcast_ref()
        }
        LogicalPlan::Projection(projection) => {
            let columns = projection.input.schema().columns();
            let same = projection.expr.len() == columns.len()
                && projection
                    .expr
                    .iter()
                    .zip(&columns)
                    .all(|(expr, column)| matches!(expr, Expr::Column(own) if own == column));
            same.then(|| all_of(&projection.input)).flatten()
        }
        _ => None,
    }
}

/// Whether the result is to be what a recogniser writes.
fn writes_transcripts(transcription: &Transcription, options: &Options) -> bool {
    options.kind == Kind::Stream
        && options.format == Format::Json
        && matches!(options.mode, None | Some(Emit::Append))
        && options
            .partitions
            .is_none_or(|partitions| partitions == transcription.audio.partitions)
        && matches!(options.key.as_slice(), [] | [_])
        && options.key.iter().all(|key| key.eq_ignore_ascii_case("session"))
}

fn recognition(transcription: &Transcription, name: Arc<str>, topic: Arc<str>, options: &Options) -> Query {
    let audio = &transcription.audio;
    let mut result = transcription.relation(Arc::clone(&name), topic);
    if let Some(time) = &mut result.event_time {
        time.idle = options.idle.or(time.idle);
        time.ahead = options.ahead;
    }
    let input = draft::input(audio, 0..audio.schema.fields().len(), Source::Stream(Arc::clone(audio)));
    let node = Node {
        operation: Operation::Transcribe(transcription.transcribe.clone()),
        from: vec![Origin::Input(0)],
        schema: Arc::clone(&result.schema),
    };
    let stage = Stage {
        inputs: vec![input],
        nodes: vec![node],
        output: Output::Result,
    };
    Query {
        name,
        result,
        stages: vec![stage],
    }
}
