//! The statements of a text, one after another: what they declare, and what runs for them.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use rechka_formats::Format;

use crate::{
    Catalog, Error, Kind, Query, Relation, Statement,
    catalog::Named,
    logical, plan,
    statement::{self, Declare, Delivery, Derive, DeriveOptions, FileFormat, Object, Outside, Sink, Target},
    stream,
};

/// How a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Derived relations are kept by queries that run for ever.
    Stream,
    /// Derived relations are names for queries over what is stored.
    Batch,
}

/// What statements have declared so far, and what is to run for them.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// What names mean.
    pub catalog: Catalog,
    /// What runs, in the order of the text: each reads only what is declared before it.
    pub running: Vec<Running>,
    /// Topics that are to keep their records for so long, if they are made for this.
    pub retentions: Vec<Retention>,
    mode: Mode,
    /// The folder that paths in the text are relative to.
    folder: PathBuf,
}

/// How long a topic keeps its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The topic.
    pub topic: Arc<str>,
    /// Its partitions.
    pub partitions: u32,
    /// How long.
    pub age: Duration,
}

/// A query that runs for ever.
#[derive(Clone, Debug)]
pub struct Running {
    /// What it does.
    pub query: plan::Query,
    /// What a crash may do to its result.
    pub delivery: Option<Delivery>,
    /// Where its result goes besides its topic.
    pub files: Option<Files>,
}

/// Files that a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Where.
    pub folder: PathBuf,
    /// What they are.
    pub format: FileFormat,
}

/// The answer to a statement.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It is done.
    Done,
    /// Rows: `SHOW`, `DESCRIBE`.
    Rows(RecordBatch),
    /// Lines: `EXPLAIN`.
    Text(String),
    /// A query to be run over what is stored: its plan, as written.
    Query(LogicalPlan),
}

impl Pipeline {
    /// Nothing yet. Paths in the text are relative to `folder`.
    pub fn new(mode: Mode, folder: impl Into<PathBuf>) -> Self {
        Self {
            catalog: Catalog::default(),
            running: Vec::new(),
            retentions: Vec::new(),
            mode,
            folder: folder.into(),
        }
    }

    /// A text that runs for ever. A query whose rows go nowhere is refused.
    pub fn read(text: &str, folder: &Path, outside: &dyn Outside) -> Result<Self, Error> {
        let mut pipeline = Self::new(Mode::Stream, folder);
        for statement in Statement::parse_with(text, outside)? {
            if let Statement::Query(_) = statement {
                let way_out = "a SELECT alone has nowhere to put its rows: write CREATE STREAM name AS SELECT … or CREATE MATERIALIZED \
                               VIEW name AS SELECT …, or ask it once with `rechka sql`";
                return Err(Error::Plan(way_out.to_owned()));
            }
            pipeline.execute(statement)?;
        }
        Ok(pipeline)
    }

    /// Says what paths in the next statements are relative to.
    pub fn set_folder(&mut self, folder: impl Into<PathBuf>) {
        self.folder = folder.into();
    }

    /// Executes the next statement.
    pub fn execute(&mut self, statement: Statement) -> Result<Reply, Error> {
        match statement {
            Statement::Declare(declare) => self.declare(declare).map(|()| Reply::Done),
            Statement::Derive(derive) => self.derive(&derive).map(|()| Reply::Done),
            Statement::View { name, query } => {
                let plan = logical::logical_plan(&self.catalog, &query)?;
                self.catalog.declare(&name, Named::Query(Arc::new(plan)))?;
                Ok(Reply::Done)
            }
            Statement::Sink(sink) => self.sink(sink).map(|()| Reply::Done),
            Statement::Drop {
                object,
                name,
                if_exists,
            } => self.drop(object, &name, if_exists).map(|()| Reply::Done),
            Statement::Show(object) => Ok(Reply::Rows(statement::show(&self.catalog, object))),
            Statement::Describe(name) => statement::describe(&self.catalog, &name).map(Reply::Rows),
            Statement::Explain(statement) => self.explain(*statement).map(Reply::Text),
            Statement::Query(query) => logical::logical_plan(&self.catalog, &query).map(Reply::Query),
        }
    }

    fn declare(&mut self, declare: Declare) -> Result<(), Error> {
        if declare.if_not_exists && self.catalog.get(&declare.relation.name).is_some() {
            return Ok(());
        }
        let mut relation = declare.relation;
        relation.file = relation.file.map(|file| self.folder.join(file).into());
        let relation = self.catalog.declare_relation(relation)?;
        self.retain(&relation, declare.retention);
        Ok(())
    }

    fn retain(&mut self, relation: &Relation, age: Option<Duration>) {
        let (topic, partitions) = (Arc::clone(&relation.topic), relation.partitions);
        self.retentions
            .extend(age.map(|age| Retention { topic, partitions, age }));
    }

    fn derive(&mut self, derive: &Derive) -> Result<(), Error> {
        if derive.if_not_exists && self.catalog.get(&derive.name).is_some() {
            return Ok(());
        }
        if self.mode == Mode::Batch {
            let plan = logical::logical_plan(&self.catalog, &derive.query)?;
            return self.catalog.declare(&derive.name, Named::Query(Arc::new(plan)));
        }
        let running = self.plan(derive, None)?;
        if let Some(Running { query, .. }) = running.last() {
            let relation = self.catalog.declare_relation(query.result.clone())?;
            self.retain(&relation, derive.options.retention);
        }
        self.running.extend(running);
        Ok(())
    }

    /// What runs for a query. The last makes its result, and that may go into files.
    fn plan(&self, derive: &Derive, files: Option<Files>) -> Result<Vec<Running>, Error> {
        let plan = logical::logical_plan(&self.catalog, &derive.query)?;
        let queries = stream::plan_queries(&derive.name, plan, &derive.into())?;
        queries.iter().try_for_each(check_topic)?;
        let running = |query| Running {
            query,
            delivery: derive.options.delivery,
            files: None,
        };
        let mut running: Vec<_> = queries.into_iter().map(running).collect();
        if let Some(last) = running.last_mut() {
            last.files = files;
            check_rows(last, derive.options.retention)?;
        }
        Ok(running)
    }

    fn sink(&mut self, sink: Sink) -> Result<(), Error> {
        self.catalog.declare(&sink.name, Named::Sink(sink.to.clone()))?;
        if self.mode == Mode::Batch {
            return Ok(());
        }
        let (topic, format, key, files) = match sink.to {
            Target::Topic { topic, format, key } => (topic, format, key, None),
            Target::Files { directory, format } => {
                let files = Files {
                    folder: self.folder.join(directory),
                    format,
                };
                (
                    format!("{}.sink", sink.name).into(),
                    Format::Arrow,
                    Vec::new(),
                    Some(files),
                )
            }
        };
        let options = DeriveOptions {
            topic,
            format,
            key,
            delivery: sink.delivery,
            ..DeriveOptions::new(&sink.name)
        };
        let running = self.plan(&stream_of(sink.name, sink.query, options), files)?;
        self.running.extend(running);
        Ok(())
    }

    fn drop(&mut self, object: Object, name: &str, if_exists: bool) -> Result<(), Error> {
        let Some(named) = self.catalog.get(name) else {
            return if if_exists {
                Ok(())
            } else {
                Err(self.catalog.unknown(name))
            };
        };
        let is = match named {
            Named::Relation(relation) => match relation.kind {
                Kind::Stream => Object::Stream,
                Kind::Table => Object::Table,
                Kind::View => Object::View,
            },
            Named::Query(_) => Object::View,
            Named::Sink(_) => Object::Sink,
        };
        if is != object {
            return Err(Error::Plan(
                format!("{name} is a {is:?}: write DROP {is:?} {name}").to_lowercase(),
            ));
        }
        let user = self
            .running
            .iter()
            .find(|running| reads(&running.query, name) && !runs_for(running, name));
        if let Some(user) = user {
            return Err(Error::Plan(format!(
                "{} reads {name}: DROP that before",
                user.query.name
            )));
        }
        self.catalog.remove(name)?;
        self.running.retain(|running| !runs_for(running, name));
        Ok(())
    }

    fn explain(&self, statement: Statement) -> Result<String, Error> {
        let derive = match statement {
            Statement::Query(query) => stream_of("query".into(), query, DeriveOptions::new(&"query".into())),
            Statement::Derive(derive) => derive,
            _ => {
                return Err(Error::Plan(
                    "EXPLAIN explains a SELECT, or a CREATE … AS SELECT".to_owned(),
                ));
            }
        };
        if self.mode == Mode::Batch {
            let plan = logical::optimise(logical::logical_plan(&self.catalog, &derive.query)?)?;
            return Ok(plan.display_indent().to_string());
        }
        let running = self.plan(&derive, None)?;
        let texts = running.iter().rev().map(|running| stream::explain(&running.query));
        Ok(texts.collect::<Vec<_>>().join("\n"))
    }
}

fn stream_of(name: Arc<str>, query: Query, options: DeriveOptions) -> Derive {
    Derive {
        name,
        materialised: false,
        query,
        options,
        if_not_exists: false,
    }
}

/// Rows of which the last of each key counts are records with keys, and stay for as long as they count.
fn check_rows(running: &Running, retention: Option<Duration>) -> Result<(), Error> {
    let Running { query, files, .. } = running;
    let (name, changing) = (&query.name, query.result.kind != Kind::Stream);
    let refusal = match files {
        Some(_) if changing => format!(
            "the rows of {name} change, and what is written into a file stays: group by windows (TUMBLE …), whose rows are written once, \
             or write to = 'topic:…'"
        ),
        Some(files) if files.format == FileFormat::Csv => return check_flat(query),
        None if changing && query.result.format == Format::Arrow => format!(
            "the rows of {name} are kept by key, and a record in Arrow holds many rows, so it has no key: write format = 'json'"
        ),
        None if changing && retention.is_some() => format!("the rows of {name} change: {}", statement::KEPT_BY_KEY),
        _ => return Ok(()),
    };
    Err(Error::Plan(refusal))
}

/// CSV has no place for lists and structs.
fn check_flat(query: &plan::Query) -> Result<(), Error> {
    let columns = query.result.schema.fields();
    match columns.iter().find(|column| column.data_type().is_nested()) {
        Some(column) => Err(Error::Plan(format!(
            "{}: the column {} is a list or a struct, which csv has no place for: write format = 'json' or 'parquet', or SELECT its parts",
            query.name,
            column.name()
        ))),
        None => Ok(()),
    }
}

/// A query that reads what it writes never comes to an end of it.
fn check_topic(query: &plan::Query) -> Result<(), Error> {
    let (name, topic) = (&query.name, &query.result.topic);
    if topic.starts_with("rechka.") {
        return Err(Error::Plan(format!(
            "{name} would write to {topic:?}, and what begins with rechka. is Rechka's own: write topic = '…' with another name"
        )));
    }
    let inputs = query.stages.iter().flat_map(|stage| &stage.inputs);
    for input in inputs {
        if let plan::Source::Stream(relation) | plan::Source::Table(relation) = &input.source
            && relation.file.is_none()
            && relation.topic == *topic
        {
            return Err(Error::Plan(format!(
                "{name} would write to the topic {topic:?}, which it reads as {}: it would feed itself for ever; write to another topic",
                relation.name
            )));
        }
    }
    Ok(())
}

/// Whether a query makes the relation of this name, or what that is made from (`name.transcripts`: no relation has a name with a dot).
fn runs_for(running: &Running, name: &str) -> bool {
    let own = &running.query.name;
    own.split('.')
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case(name))
}

fn reads(query: &plan::Query, name: &str) -> bool {
    let inputs = query.stages.iter().flat_map(|stage| &stage.inputs);
    inputs.into_iter().any(|input| match &input.source {
        plan::Source::Stream(relation) | plan::Source::Table(relation) => relation.name.eq_ignore_ascii_case(name),
        plan::Source::Exchange(_) => false,
    })
}
