use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, Result, UnnestOptions, plan_err},
    functions::core::expr_fn::get_field,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, planner::RelationPlannerContext},
    sql::sqlparser::ast::{FunctionArg, FunctionArgExpr},
};

use super::time_before::call_time_before;
use crate::logical::relation::table_factor;

const USAGE: &str = "WORDS(transcripts)";
/// The list of words, and then a word of it.
const WORD: &str = "rechka_word";
/// End of the segment in seconds of its session.
const SEGMENT_END: &str = "rechka_segment_end";

/// A row for each word of a transcript, with the word's own times.
///
/// `ts` of a transcript is the clock's time at the end of the segment, so a word ended as long before that as its end is before
/// that of the segment.
pub(super) fn plan(args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(transcripts))] = args else {
        return plan_err!("WORDS takes transcripts and nothing else: write {USAGE}");
    };
    let input = context.plan(table_factor(transcripts.clone(), USAGE)?)?;
    let column = |name: &str, fits: fn(&DataType) -> bool, kind: &str| -> Result<Expr> {
        let found = input.schema().iter().find(|(_, field)| field.name() == name);
        match found {
            Some((qualifier, field)) if fits(field.data_type()) => {
                Ok(Expr::Column(Column::new(qualifier.cloned(), name)))
            }
            _ => plan_err!(
                "WORDS reads transcripts, as TRANSCRIBE makes them; here {name} {kind} is missing: write WORDS over such a stream"
            ),
        }
    };
    let ts = column("ts", |kind| matches!(kind, DataType::Timestamp(..)), "TIMESTAMP")?;
    let end = column("end", |kind| *kind == DataType::Float64, "DOUBLE")?;
    let words = column(
        "words",
        is_list_of_words,
        "ARRAY<STRUCT<word TEXT, start DOUBLE, \"end\" DOUBLE, probability REAL>>",
    )?;
    let session = column("session", |kind| *kind == DataType::Utf8, "TEXT")?;
    let segment = column("segment", DataType::is_integer, "BIGINT")?;
    let language = column("language", |kind| *kind == DataType::Utf8, "TEXT")?;

    let own = |name: &str| Expr::Column(Column::new_unqualified(name));
    let part = |name: &str| get_field(own(WORD), name);
    let plain = |expr: Expr, name: &str| expr.alias(name);
    LogicalPlanBuilder::from(input)
        .project([
            plain(session, "session"),
            plain(segment, "segment"),
            plain(language, "language"),
            plain(words, WORD),
            plain(end, SEGMENT_END),
            plain(ts, "ts"),
        ])?
        .unnest_column_with_options(WORD, UnnestOptions::new().with_preserve_nulls(false))?
        .project([
            own("session"),
            own("segment"),
            part("word").alias("word"),
            part("start").alias("start"),
            part("end").alias("end"),
            part("probability").alias("probability"),
            own("language"),
            call_time_before(own("ts"), own(SEGMENT_END) - part("end")).alias("ts"),
        ])?
        .build()
}

fn is_list_of_words(kind: &DataType) -> bool {
    let DataType::List(item) = kind else { return false };
    let DataType::Struct(fields) = item.data_type() else {
        return false;
    };
    let has = |name: &str, fits: fn(&DataType) -> bool| {
        fields
            .iter()
            .any(|field| field.name() == name && fits(field.data_type()))
    };
    has("word", |kind| *kind == DataType::Utf8)
        && ["start", "end", "probability"]
            .iter()
            .all(|name| has(name, DataType::is_floating))
}
