//! What is stored of relations now, as tables for DataFusion: the batch side of a query.
mod keyed;
mod stream;
mod transcripts;

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    datasource::MemTable,
    error::Result as DataFusionResult,
    execution::SessionStateBuilder,
    logical_expr::{Expr, LogicalPlan, TableType},
    physical_plan::{ExecutionPlan, streaming::StreamingTableExec},
    prelude::{DataFrame, SessionConfig, SessionContext},
};
use rechka_log::Log;
use rechka_sql::{Kind, Relation, Scanned, expand_windows, logical, read_from};

use stream::StoredPartition;
use transcripts::StoredTranscripts;

use crate::{Result, Speech, stage::read_file};

/// A query over what is stored now, ready to run: the same rows as the stream gives when all of its input has come.
///
/// `plan` is as written ([`rechka_sql::logical::logical_plan`]). `speech`: what is said is recognised with.
pub fn query(log: &Arc<dyn Log>, plan: LogicalPlan, speech: &Speech) -> Result<DataFrame> {
    let plan = expand_windows(logical::optimise(plan)?)?;
    let plan = read_from(plan, |scanned| match scanned {
        Scanned::Relation(relation) => Ok(table(log, relation)?),
        Scanned::Transcripts(transcription) => Ok(Arc::new(StoredTranscripts::new(log, transcription, speech)?)),
    })?;
    let mut config = SessionConfig::new().with_information_schema(false);
    config.options_mut().execution.time_zone = Some("+00:00".to_owned());
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .build();
    Ok(DataFrame::new(SessionContext::new_with_state(state).state(), plan))
}

/// What is stored of a relation now.
fn table(log: &Arc<dyn Log>, relation: &Arc<Relation>) -> Result<Arc<dyn TableProvider>> {
    let rows = match (&relation.file, relation.kind) {
        (Some(file), _) => read_file(file, &relation.schema)?,
        (None, Kind::Stream) => {
            let (log, relation) = (Arc::clone(log), Arc::clone(relation));
            return Ok(Arc::new(StoredStream { log, relation }));
        }
        (None, Kind::Table | Kind::View) => keyed::read(&**log, relation)?,
    };
    Ok(Arc::new(in_memory(&relation.schema, rows)?))
}

fn in_memory(schema: &SchemaRef, rows: Vec<RecordBatch>) -> Result<MemTable> {
    Ok(MemTable::try_new(Arc::clone(schema), vec![rows])?)
}

/// The stored part of a stream; only the columns that are asked for are decoded.
struct StoredStream {
    log: Arc<dyn Log>,
    relation: Arc<Relation>,
}

impl std::fmt::Debug for StoredStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StoredStream({})", self.relation.name)
    }
}

#[async_trait]
impl TableProvider for StoredStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let partitions = StoredPartition::all(&self.log, &self.relation, projection)?;
        let schema = StoredPartition::schema_of(&self.relation, projection)?;
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            partitions,
            None,
            Vec::new(),
            false,
            limit,
        )?))
    }
}
