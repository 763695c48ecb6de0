use std::{
    cmp::Ordering,
    collections::HashSet,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::{Column, DFSchema, DFSchemaRef, Result, TableReference, plan_err},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
};

use crate::plan::Window;

/// Start of the window, inclusive.
pub const WINDOW_START: &str = "window_start";
/// End of the window, exclusive.
pub const WINDOW_END: &str = "window_end";
/// The last moment of the window: a millisecond before its end, which makes it an event time of the result.
pub const WINDOW_TIME: &str = "window_time";

/// Cuts the time of its input into windows: the columns of the input, then [`WINDOW_START`], [`WINDOW_END`] and
/// [`WINDOW_TIME`] in the type of the time column. A row is repeated for every window it falls in; a row whose time is NULL
/// falls in none. What `TUMBLE`, `HOP`, `CUMULATE` and `SESSION` become.
///
/// Session windows are special: they are made by the `GROUP BY` above, whose keys say which rows belong together. So what a
/// filter between the two drops is no part of a session.
#[derive(Clone, Debug)]
pub struct WindowNode {
    /// What is cut.
    pub input: Arc<LogicalPlan>,
    /// The column with the event time; `None`: processing time.
    pub time: Option<Column>,
    /// How.
    pub window: Window,
    /// Of the result.
    pub schema: DFSchemaRef,
    qualifier: Option<TableReference>,
    time_type: DataType,
}

impl WindowNode {
    /// Cuts `input` by the event time `time`, or by processing time: then the window columns have `time_type`, and are
    /// qualified like the column of that name in `input`.
    pub(super) fn try_new(input: Arc<LogicalPlan>, time: &Column, processing: bool, window: Window) -> Result<Self> {
        let (qualifier, field) = input.schema().qualified_field_from_column(time)?;
        let (qualifier, time_type) = (qualifier.cloned(), field.data_type().clone());
        let time = (!processing).then(|| time.clone());
        Self::with_columns(input, time, window, qualifier, time_type)
    }

    fn with_columns(
        input: Arc<LogicalPlan>,
        time: Option<Column>,
        window: Window,
        qualifier: Option<TableReference>,
        time_type: DataType,
    ) -> Result<Self> {
        for name in [WINDOW_START, WINDOW_END, WINDOW_TIME] {
            if input.schema().has_column(&Column::new(qualifier.clone(), name)) {
                return plan_err!(
                    "the input of a window function already has a column {name}: give it another name in a subquery \
                     (SELECT {name} AS first_{name}, …)"
                );
            }
        }
        let columns = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let window_columns = [WINDOW_START, WINDOW_END, WINDOW_TIME]
            .map(|name| (qualifier.clone(), Arc::new(Field::new(name, time_type.clone(), true))));
        let metadata = input.schema().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(
            columns.chain(window_columns).collect(),
            metadata,
        )?);
        Ok(Self {
            input,
            time,
            window,
            schema,
            qualifier,
            time_type,
        })
    }

    /// Index of the first window column in the schema.
    pub fn window_columns(&self) -> usize {
        self.schema.fields().len() - 3
    }

    /// The node in a plan, if that is what `plan` is.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else {
            return None;
        };
        extension.node.as_any().downcast_ref()
    }
}

impl From<WindowNode> for LogicalPlan {
    fn from(node: WindowNode) -> Self {
        LogicalPlan::Extension(Extension { node: Arc::new(node) })
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.time.iter().cloned().map(Expr::Column).collect()
    }

    /// All others can be asked before the windows are known.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        [WINDOW_START, WINDOW_END, WINDOW_TIME].map(str::to_owned).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.time {
            Some(time) => write!(f, "Window: {} on {time}", self.window),
            None => write!(f, "Window: {} on processing time", self.window),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return plan_err!("a window has one input");
        };
        let time = match <[Expr; 1]>::try_from(exprs) {
            Ok([Expr::Column(time)]) => Some(time),
            Ok(_) => return plan_err!("the time of a window must be a column"),
            Err(_) => None,
        };
        Self::with_columns(
            Arc::new(input),
            time,
            self.window,
            self.qualifier.clone(),
            self.time_type.clone(),
        )
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let time = self
            .time
            .iter()
            .filter_map(|time| self.input.schema().maybe_index_of_column(time));
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|&column| column < self.window_columns())
            .chain(time)
            .collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

type Identity<'a> = (&'a LogicalPlan, &'a Option<Column>, Window, &'a Option<TableReference>);

impl WindowNode {
    fn identity(&self) -> Identity<'_> {
        (&self.input, &self.time, self.window, &self.qualifier)
    }
}

impl PartialEq for WindowNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for WindowNode {}

impl Hash for WindowNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.identity().partial_cmp(&other.identity())
    }
}
