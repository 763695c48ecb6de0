use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    common::{Result, TableReference, config::ConfigOptions, plan_err},
    execution::SessionStateDefaults,
    logical_expr::{
        AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
        planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner},
    },
};

use super::{as_of::AsOf, proctime::ProcTime, relation::WindowFunctions, speech::SpeechFunctions, types::Types};
use crate::{Catalog, Relation, catalog::Named};

/// What a scan of a relation of the catalogue reads.
#[derive(Debug)]
pub struct RelationSource {
    /// The relation.
    pub relation: Arc<Relation>,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }
}

/// A `CREATE VIEW`: its query stands in for it.
struct Inlined {
    schema: SchemaRef,
    plan: Arc<LogicalPlan>,
}

impl TableSource for Inlined {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// Answers the SQL planner's questions about names: relations from the catalogue, all functions of DataFusion, and ours.
/// Function names don't depend on case.
pub(super) struct Context<'a> {
    catalog: &'a Catalog,
    options: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    scalar: HashMap<String, Arc<ScalarUDF>>,
    higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        let mut scalar = SessionStateDefaults::default_scalar_functions();
        scalar.push(Arc::new(ScalarUDF::new_from_impl(ProcTime::new())));
        scalar.push(Arc::new(ScalarUDF::new_from_impl(AsOf::new())));
        Self {
            catalog,
            options: super::options(),
            expr_planners: SessionStateDefaults::default_expr_planners(),
            relation_planners: vec![Arc::new(WindowFunctions), Arc::new(SpeechFunctions)],
            scalar: by_name(scalar, |function| (function.name(), function.aliases())),
            higher_order: by_name(SessionStateDefaults::default_higher_order_functions(), |function| {
                (function.name(), function.aliases())
            }),
            aggregate: by_name(SessionStateDefaults::default_aggregate_functions(), |function| {
                (function.name(), function.aliases())
            }),
            window: by_name(SessionStateDefaults::default_window_functions(), |function| {
                (function.name(), function.aliases())
            }),
        }
    }
}

fn by_name<F>(functions: Vec<Arc<F>>, names: impl Fn(&F) -> (&str, &[String])) -> HashMap<String, Arc<F>> {
    let mut named = HashMap::new();
    for function in &functions {
        let (name, aliases) = names(function);
        for name in aliases.iter().map(String::as_str).chain([name]) {
            named.insert(name.to_lowercase(), Arc::clone(function));
        }
    }
    named
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.catalog.get(name.table()) {
            Some(Named::Relation(relation)) => Ok(Arc::new(RelationSource {
                relation: Arc::clone(relation),
            })),
            Some(Named::Query(plan)) => Ok(Arc::new(Inlined {
                schema: Arc::clone(plan.schema().inner()),
                plan: Arc::clone(plan),
            })),
            Some(Named::Sink(_)) => plan_err!("{name} is a sink, which can't be read: read what it is made from"),
            None => plan_err!("{}", self.catalog.unknown(name.table())),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(&name.to_lowercase()).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.higher_order.get(&name.to_lowercase()).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregate.get(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.window.get(&name.to_lowercase()).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.window.keys().cloned().collect()
    }
}
