//! The first rows of each group. When they are known for good, and so what must be kept, makes three operators.
mod changing;
mod final_rows;
mod ranking;
#[cfg(test)]
mod tests;
mod windows;

use arrow::datatypes::SchemaRef;
use rechka_sql::plan::{Closing, TopN};

use self::{changing::Changing, final_rows::FinalRows, ranking::Shape, windows::Windows};
use super::Operator;
use crate::{EngineError, Result};

/// The operator that ranks rows in this way.
pub(super) fn build(top: &TopN, inputs: &[SchemaRef], schema: SchemaRef) -> Result<Box<dyn Operator>> {
    let [input] = inputs else {
        return Err(EngineError::Query("ranks are given to the rows of one input".into()));
    };
    let shape = Shape::new(top, input.clone(), schema)?;
    Ok(match top.closing {
        Closing::WindowEnd(column) => Box::new(Windows::new(shape, column)),
        Closing::EventTime(column) => {
            let nulls_first = top.order.first().is_some_and(|by| by.options.nulls_first);
            Box::new(FinalRows::new(shape, column, nulls_first)?)
        }
        Closing::Never => Box::new(Changing::new(shape)?),
    })
}
