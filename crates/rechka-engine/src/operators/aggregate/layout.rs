//! Which columns stand where.
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rechka_sql::plan::{Aggregate, Groups, Phase};

use super::functions::Functions;
use crate::{EngineError, Result};

/// The columns of an aggregation.
#[derive(Clone)]
pub(super) struct Layout {
    /// The keys.
    pub keys: SchemaRef,
    /// The keys, then the states: a group in the state.
    pub groups: SchemaRef,
    /// `start` and `end` (of a pane, a window or a session, in microseconds) before the columns of `groups`: a group
    /// in a delta.
    pub deltas: SchemaRef,
    /// Whether `start` and `end` stand before the groups in what goes through an exchange.
    pub spans: bool,
    /// What comes out.
    pub output: SchemaRef,
    /// The type of the window columns of the result, if it has them.
    pub time: Option<DataType>,
}

impl Layout {
    pub fn new(aggregate: &Aggregate, functions: &Functions, output: &SchemaRef) -> Result<Self> {
        let spans = matches!(aggregate.groups, Groups::Windows { .. });
        let before = if aggregate.phase == Phase::Partial && spans {
            2
        } else {
            0
        };
        let count = aggregate.keys.len();
        let states = functions.state_types().count();
        let columns = match (aggregate.phase, spans) {
            (Phase::Partial, _) => before + count + states,
            (_, true) => count + 2 + aggregate.columns.len(),
            (_, false) => count + aggregate.columns.len(),
        };
        if output.fields().len() != columns {
            return Err(EngineError::Query(format!(
                "an aggregation makes {columns} columns, and its plan says {}",
                output.fields().len()
            )));
        }
        let keys: Vec<Arc<Field>> = output.fields()[before..before + count].to_vec();
        let states = functions.state_types().enumerate();
        let states = states.map(|(index, data)| Arc::new(Field::new(format!("state_{index}"), data.clone(), true)));
        let groups: Vec<Arc<Field>> = keys.iter().cloned().chain(states).collect();
        let span = ["start", "end"].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
        Ok(Layout {
            keys: Arc::new(Schema::new(keys)),
            deltas: Arc::new(Schema::new(
                span.into_iter().chain(groups.iter().cloned()).collect::<Vec<_>>(),
            )),
            groups: Arc::new(Schema::new(groups)),
            spans,
            output: Arc::clone(output),
            time: (spans && aggregate.phase != Phase::Partial).then(|| output.field(count).data_type().clone()),
        })
    }
}
