use std::{ops::Range, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    error::Result as DataFusionResult,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchReceiverStream, streaming::PartitionStream},
};
use rechka_log::{Log, Offset, Scan, TopicPartition};
use rechka_sql::{
    Relation,
    plan::{Input, Source},
};

use crate::{Result, clock, stage::StreamSource};

/// Batches on their way to whoever asked.
const AHEAD: usize = 2;

/// What a partition of a stream holds now.
#[derive(Clone)]
pub(super) struct StoredPartition {
    log: Arc<dyn Log>,
    relation: Arc<Relation>,
    partition: TopicPartition,
    offsets: Range<Offset>,
    /// The columns that are decoded: those that are asked for, and behind them the event time, which decides on whether a row counts.
    input: Input,
    schema: SchemaRef,
}

impl std::fmt::Debug for StoredPartition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} {:?}", self.partition, self.offsets)
    }
}

impl StoredPartition {
    /// The columns that a scan gives.
    pub fn schema_of(relation: &Relation, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
        Ok(match projection {
            Some(columns) => Arc::new(relation.schema.project(columns)?),
            None => Arc::clone(&relation.schema),
        })
    }

    /// All partitions of a stream.
    pub fn all(
        log: &Arc<dyn Log>,
        relation: &Arc<Relation>,
        projection: Option<&Vec<usize>>,
    ) -> Result<Vec<Arc<dyn PartitionStream>>> {
        let schema = Self::schema_of(relation, projection)?;
        let input = input(relation, projection);
        let partition = |number| -> Result<Arc<dyn PartitionStream>> {
            let partition = TopicPartition::new(Arc::clone(&relation.topic), number);
            Ok(Arc::new(Self {
                offsets: log.offsets(&partition)?,
                log: Arc::clone(log),
                relation: Arc::clone(relation),
                partition,
                input: input.clone(),
                schema: Arc::clone(&schema),
            }))
        };
        (0..relation.partitions).map(partition).collect()
    }

    fn read(&self, mut send: impl FnMut(RecordBatch) -> bool) -> Result<()> {
        let mut source = StreamSource::new(&self.relation, &self.input)?;
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let mut bad = 0;
        let mut scan = Scan::open(&*self.log, &self.partition, self.offsets.clone())?;
        while let Some(fetched) = scan.read()? {
            let rows = source.decode(&fetched, clock::now())?;
            bad += rows.bad.len();
            if !send(rows.rows.project(&columns)?) {
                break;
            }
        }
        if bad > 0 {
            tracing::warn!(
                stream = &*self.relation.name,
                partition = self.partition.partition,
                bad,
                "records that don't decode"
            );
        }
        Ok(())
    }
}

fn input(relation: &Arc<Relation>, projection: Option<&Vec<usize>>) -> Input {
    let mut columns = projection
        .cloned()
        .unwrap_or_else(|| (0..relation.schema.fields().len()).collect());
    let event_time = relation.event_time.clone().map(|mut time| {
        let found = columns.iter().position(|&column| column == time.column);
        let place = found.unwrap_or(columns.len());
        if found.is_none() {
            columns.push(time.column);
        }
        time.column = place;
        time
    });
    let fields: Vec<_> = columns
        .iter()
        .map(|&column| Arc::clone(&relation.schema.fields()[column]))
        .collect();
    Input {
        source: Source::Stream(Arc::clone(relation)),
        schema: Arc::new(Schema::new(fields)),
        event_time,
    }
}

impl PartitionStream for StoredPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), AHEAD);
        let (sender, partition) = (stream.tx(), self.clone());
        stream.spawn_blocking(move || -> DataFusionResult<()> {
            let sent = |rows| sender.blocking_send(Ok(rows)).is_ok();
            Ok(partition.read(sent)?)
        });
        stream.build()
    }
}
