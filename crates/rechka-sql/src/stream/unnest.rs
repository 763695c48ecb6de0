use datafusion::logical_expr;

use super::{
    flow::{Column, Flow, Rows, Time},
    planner::{Place, Planner},
};
use crate::{Error, plan::Operation};

impl Planner<'_> {
    pub(super) fn unnest(&mut self, unnest: &logical_expr::Unnest) -> Result<Flow, Error> {
        let mut flow = self.flow(&unnest.input, Place::Under("UNNEST"))?;
        flow.assign_windows()?;
        let [(list, shape)] = unnest.list_type_columns.as_slice() else {
            return Err(Error::Plan(
                "UNNEST takes one list at a time here: unnest one in a subquery and the next around it; a struct's fields are \
                 written column['field']"
                    .to_owned(),
            ));
        };
        if shape.depth != 1 || !unnest.struct_type_columns.is_empty() {
            return Err(Error::Plan(
                "UNNEST opens one level of one list at a time: unnest the rest around it".to_owned(),
            ));
        }
        let inputs = unnest.input.schema().columns();
        let list = flow
            .index_of(&inputs[*list])
            .ok_or_else(|| Error::Plan(format!("no column {}", inputs[*list])))?;
        let place = unnest.schema.index_of_column(&shape.output_column)?;
        let (qualifier, field) = unnest.schema.qualified_field(place);
        let mut columns = flow.columns.clone();
        columns[list] = Column {
            qualifier: qualifier.cloned(),
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            time: Time::None,
            hidden: false,
        };
        flow.rows = Rows::Append(None);
        flow.together = flow.together.filter(|together| !together.contains(&list));
        flow.then(
            Operation::Unnest {
                column: list,
                preserve_nulls: unnest.options.preserve_nulls(),
            },
            columns,
        );
        Ok(flow)
    }
}
