//! What is said in a stream of audio, as far as that is stored.
use std::{ops::Range, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::Result as DataFusionResult,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchReceiverStream,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use rechka_log::{Fetched, Log, LogError, Offset, Reader, TopicPartition};
use rechka_sql::{
    Relation,
    logical::Transcription,
    plan::{Input, Source},
};

use crate::{
    Processor, Result, Speech, clock,
    recogniser::{Config, Metrics, Recognition, Topics},
    stage::StreamSource,
};

/// How long to wait for records that the log says are there.
const WAIT: Duration = Duration::from_secs(1);
/// Batches on their way to whoever asked.
const AHEAD: usize = 2;
/// The names of topics that are never made.
const NOWHERE: &str = "";

/// Recognises when it is asked for its rows: the recognition of a running query, driven from the beginning to the end. Nothing is
/// written to the log.
pub(super) struct StoredTranscripts {
    log: Arc<dyn Log>,
    config: Config,
    relation: Arc<Relation>,
}

impl StoredTranscripts {
    /// Opens the model.
    pub fn new(log: &Arc<dyn Log>, transcription: &Transcription, speech: &Speech) -> Result<Self> {
        let audio = &transcription.audio;
        let topics = Topics {
            audio: Arc::clone(&audio.topic),
            transcripts: NOWHERE.into(),
            partials: None,
            state: NOWHERE.into(),
        };
        Ok(Self {
            log: Arc::clone(log),
            config: Config::new(NOWHERE.into(), &transcription.transcribe, audio, topics, speech.clone())?,
            relation: Arc::new(transcription.relation(NOWHERE.into(), NOWHERE.into())),
        })
    }
}

impl std::fmt::Debug for StoredTranscripts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StoredTranscripts({})", self.config.topics.audio)
    }
}

#[async_trait]
impl TableProvider for StoredTranscripts {
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
        let hearing = Hearing {
            log: Arc::clone(&self.log),
            config: self.config.clone(),
            relation: Arc::clone(&self.relation),
        };
        let schema = Arc::clone(&self.relation.schema);
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![Arc::new(hearing)],
            projection,
            Vec::new(),
            false,
            limit,
        )?))
    }
}

/// All partitions of the audio together, so that the model gets the windows of all sessions at once.
#[derive(Clone)]
struct Hearing {
    log: Arc<dyn Log>,
    config: Config,
    relation: Arc<Relation>,
}

/// A partition on its way to its end.
struct Part {
    name: TopicPartition,
    reader: Box<dyn Reader>,
    offsets: Range<Offset>,
}

impl std::fmt::Debug for Hearing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Hearing({})", self.config.topics.audio)
    }
}

impl Hearing {
    /// Hands over rows until there are no more, or nobody wants them.
    fn hear(&self, mut send: impl FnMut(RecordBatch) -> bool) -> Result<()> {
        let mut recognition = Recognition::new(
            Arc::clone(&self.log),
            self.config.clone(),
            Arc::new(Metrics::default()),
            None,
        );
        let mut rows = StreamSource::new(&self.relation, &input(&self.relation))?;
        let mut parts = Vec::new();
        for partition in 0..self.relation.partitions {
            let name = TopicPartition::new(Arc::clone(&self.config.topics.audio), partition);
            let offsets = self.log.offsets(&name)?;
            recognition.begin(partition, offsets.start);
            parts.push(Part {
                reader: self.log.read(vec![(name.clone(), offsets.start)])?,
                offsets: offsets.start..offsets.end,
                name,
            });
        }
        while !recognition.is_complete() {
            for part in &mut parts {
                if !recognition.is_congested(part.name.partition) {
                    part.read(&mut recognition)?;
                }
            }
            recognition.work()?;
            for append in recognition.output()?.output {
                // The others are dead letters, for which there is no place here.
                if append.to.topic == self.config.topics.transcripts {
                    let fetched = Fetched {
                        from: append.to,
                        base_offset: 0,
                        batch: append.batch,
                    };
                    if !send(rows.decode(&fetched, clock::now())?.rows) {
                        return Ok(());
                    }
                }
            }
            recognition.committed()?;
        }
        Ok(())
    }
}

impl Part {
    /// Lets the recognition hear what comes next, or says that nothing does.
    fn read(&mut self, recognition: &mut Recognition) -> Result<()> {
        if self.offsets.is_empty() {
            recognition.end(self.name.partition);
            return Ok(());
        }
        match self.reader.poll(WAIT) {
            Ok(Some(mut fetched)) => {
                let keep = self.offsets.end.saturating_sub(fetched.base_offset) as usize;
                self.offsets.start = fetched.next_offset();
                fetched.batch = fetched.batch.slice(0..keep.min(fetched.batch.len()));
                recognition.push(&fetched)
            }
            Ok(None) if !self.reader.is_at_end() => Ok(()),
            // What is left was deleted by retention, or are only holes.
            Ok(None) => {
                self.offsets.start = self.offsets.end;
                Ok(())
            }
            Err(LogError::Damaged { from, offsets, reason }) => {
                self.offsets.start = offsets.end;
                recognition.lost(&from, offsets, &reason)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn input(relation: &Arc<Relation>) -> Input {
    Input {
        source: Source::Stream(Arc::clone(relation)),
        schema: Arc::clone(&relation.schema),
        // Whatever the clock said then, it was said.
        event_time: None,
    }
}

impl PartitionStream for Hearing {
    fn schema(&self) -> &SchemaRef {
        &self.relation.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.relation.schema), AHEAD);
        let (sender, hearing) = (stream.tx(), self.clone());
        stream.spawn_blocking(move || -> DataFusionResult<()> {
            let sent = |rows| sender.blocking_send(Ok(rows)).is_ok();
            Ok(hearing.hear(sent)?)
        });
        stream.build()
    }
}
