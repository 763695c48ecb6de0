//! The functions of an aggregate, and their state for every group.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::filter,
    datatypes::DataType,
};
use datafusion::{
    error::DataFusionError,
    logical_expr::{EmitTo, GroupsAccumulator, utils::AggregateOrderSensitivity},
    physical_expr::{GroupsAccumulatorAdapter, aggregate::AggregateFunctionExpr},
};
use rechka_sql::plan::{AggregateColumn, Expr};

use crate::{
    EngineError, Result,
    operators::expressions::{condition, evaluate},
};

/// What is computed for each group.
pub(super) struct Functions {
    columns: Vec<Column>,
}

struct Column {
    function: Arc<AggregateFunctionExpr>,
    /// The arguments, then what the function orders its rows by.
    arguments: Vec<Expr>,
    filter: Option<Expr>,
    /// The types of the state columns.
    states: Vec<DataType>,
}

/// What a function gets of rows.
pub(super) struct Arguments {
    values: Vec<ArrayRef>,
    /// Which rows count.
    filter: Option<BooleanArray>,
}

impl Arguments {
    /// Those of some of the rows.
    pub fn only(&self, which: &BooleanArray) -> Result<Arguments> {
        let chosen = self.values.iter().map(|values| Ok(filter(values, which)?));
        let counting = self.filter.as_ref().map(|rows| filter(rows, which)).transpose()?;
        Ok(Arguments {
            values: chosen.collect::<Result<_>>()?,
            filter: counting.map(|rows| rows.as_boolean().clone()),
        })
    }
}

impl Functions {
    pub fn new(columns: &[AggregateColumn]) -> Result<Arc<Self>> {
        let columns = columns.iter().map(Column::new).collect::<Result<_>>()?;
        Ok(Arc::new(Functions { columns }))
    }

    /// The types of the states of all functions, one after another.
    pub fn state_types(&self) -> impl Iterator<Item = &DataType> {
        self.columns.iter().flat_map(|column| &column.states)
    }

    /// What the functions get of rows. Only this can fail on a row.
    pub fn arguments(&self, rows: &RecordBatch) -> Result<Vec<Arguments>> {
        let arguments = |column: &Column| {
            Ok(Arguments {
                values: evaluate(&column.arguments, rows)?,
                filter: column
                    .filter
                    .as_ref()
                    .map(|filter| condition(filter, rows))
                    .transpose()?,
            })
        };
        self.columns.iter().map(arguments).collect()
    }

    /// The states, as [`Functions::state_types`], of a group without rows.
    pub fn nothing(&self) -> Result<Vec<ArrayRef>> {
        let mut states = Vec::new();
        for column in &self.columns {
            for state in column.function.create_accumulator()?.state()? {
                states.push(state.to_array()?);
            }
        }
        Ok(states)
    }
}

impl Column {
    fn new(column: &AggregateColumn) -> Result<Self> {
        let function = &column.function;
        let states: Vec<_> = function
            .state_fields()?
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let name = function.fun().name();
        // WITHIN GROUP (ORDER BY …) says what a quantile is of, and from which end, not in which order rows must come.
        let is_quantile = function.fun().supports_within_group_clause();
        // string_agg says that it needs ordered rows, and yet orders them itself.
        let needs_order = function.order_sensitivity() == AggregateOrderSensitivity::HardRequirement
            && name != "string_agg"
            && !is_quantile;
        // Functions for which order means nothing declare states for it, and then give none.
        if needs_order || function.create_accumulator()?.state()?.len() != states.len() {
            return Err(EngineError::Query(format!(
                "{name} takes no ORDER BY in a stream: leave it out, or write first_value, last_value, array_agg or \
                 string_agg"
            )));
        }
        let order = function.order_bys().iter().filter(|_| !is_quantile);
        let order = order.map(|order| order.expr.clone());
        Ok(Column {
            arguments: function.expressions().into_iter().chain(order).collect(),
            filter: column.filter.clone(),
            states,
            function: function.clone(),
        })
    }

    fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        // The accumulator of bit_xor for many groups knows no DISTINCT, and does not say so.
        let knows_distinct = !self.function.is_distinct() || self.function.fun().name() != "bit_xor";
        if self.function.groups_accumulator_supported() && knows_distinct {
            return Ok(self.function.create_groups_accumulator()?);
        }
        let function = self.function.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || {
            function.create_accumulator()
        })))
    }
}

/// The state of all functions for groups that are numbered from 0.
pub(super) struct Accumulators {
    functions: Arc<Functions>,
    /// One for each function.
    columns: Vec<Box<dyn GroupsAccumulator>>,
}

impl Accumulators {
    pub fn new(functions: Arc<Functions>) -> Result<Self> {
        let columns = functions
            .columns
            .iter()
            .map(Column::accumulator)
            .collect::<Result<_>>()?;
        Ok(Accumulators { functions, columns })
    }

    /// Takes the [`Functions::arguments`] of rows, each into the group of which `groups` has the number; `count` groups are known
    /// now.
    pub fn update(&mut self, arguments: &[Arguments], groups: &[usize], count: usize) -> Result<()> {
        for (arguments, accumulator) in arguments.iter().zip(&mut self.columns) {
            accumulator.update_batch(&arguments.values, groups, arguments.filter.as_ref(), count)?;
        }
        Ok(())
    }

    /// Takes states that [`Accumulators::states`] gave, in the same way.
    /// Each group that is new must have a state among them: functions take it that a group without one is not new.
    pub fn merge(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        let mut states = states;
        for (column, accumulator) in self.functions.columns.iter().zip(&mut self.columns) {
            let (own, rest) = states.split_at(column.states.len());
            accumulator.merge_batch(own, groups, count)?;
            states = rest;
        }
        Ok(())
    }

    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The states of all groups; none is left.
    pub fn states(&mut self) -> Result<Vec<ArrayRef>> {
        let mut states = Vec::new();
        for accumulator in &mut self.columns {
            states.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(states)
    }

    /// The results of all groups; none is left, even if that of a group can't be computed.
    pub fn results(&mut self) -> Result<Vec<ArrayRef>> {
        let results = self
            .columns
            .iter_mut()
            .map(|accumulator| accumulator.evaluate(EmitTo::All));
        let results = results.collect::<std::result::Result<_, _>>();
        results.map_err(|error: DataFusionError| EngineError::Expression(error.strip_backtrace()))
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.columns.iter().map(|accumulator| accumulator.size()).sum()
    }
}
