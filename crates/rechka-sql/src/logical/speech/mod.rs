//! `TRANSCRIBE` and `WORDS` in `FROM`.
mod time_before;
mod transcribe;
mod words;

use datafusion::{
    common::Result,
    logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    sql::sqlparser::ast::TableFactor,
};

pub use time_before::time_before;
pub use transcribe::Transcription;

/// The functions of this module.
#[derive(Debug)]
pub(super) struct SpeechFunctions;

impl RelationPlanner for SpeechFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = match name.to_string().to_ascii_uppercase().as_str() {
            "TRANSCRIBE" => transcribe::plan(&args.args, context)?,
            "WORDS" => words::plan(&args.args, context)?,
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan,
            alias.clone(),
        ))))
    }
}
