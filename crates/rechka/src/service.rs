//! A pipeline at work: its queries, its files, its views, and the gateway that shows them.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rechka_emit::{FileSink, Limits, SinkHealth};
use rechka_engine::{Reading, RunOptions, RunningQuery, pipelines};
use rechka_log::{Log, TopicSpec};
use rechka_serve::{Gateway, GatewayConfig, Probe};
use rechka_sql::{Kind, Pipeline, Running, catalog::Named, plan::Query};
use rechka_store::Views;
use tokio::net::TcpListener;

use crate::{
    cli::ListenArgs,
    queries::{Queries, QueryStatus},
    status_table::StatusTable,
};

/// How often it is said how the queries go.
const EVERY: Duration = Duration::from_secs(1);

/// Everything of a pipeline, running.
pub struct Service {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Its queries.
    pub queries: Arc<Queries>,
    /// Its views.
    pub views: Arc<Views>,
    sinks: Vec<FileSink>,
    gateway: Gateway,
    listener: TcpListener,
}

impl Service {
    /// Starts it. `options`: for each query.
    pub async fn start(
        log: &Arc<dyn Log>,
        pipeline: &Pipeline,
        options: impl Fn(&Running) -> RunOptions,
        ListenArgs { listen, allow_host }: &ListenArgs,
    ) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("listening on {listen} (is it taken? another address: --listen 127.0.0.1:9000)")
        })?;
        let sinks = start_sinks(log, pipeline)?;
        let queries = Arc::new(Queries::start(log, pipeline, options)?);
        let views = follow_views(log, pipeline)?;
        let mut config = GatewayConfig {
            allowed_hosts: allow_host.clone(),
            ..GatewayConfig::default()
        };
        if let Some(model) = model(log, pipeline)? {
            config.model = model;
        }
        let health = Sinks(sinks.iter().map(FileSink::health).collect());
        let probes: Vec<Arc<dyn Probe>> = vec![queries.clone(), Arc::new(health)];
        let gateway = Gateway::with_views(Arc::clone(log), config, probes, views.clone())?;
        Ok(Self {
            address: listener.local_addr()?,
            queries,
            views,
            sinks,
            gateway,
            listener,
        })
    }

    /// The same as [`serve`](Self::serve); tells in the log how the queries go, and draws it on the terminal if somebody watches.
    /// Ends too when the queries may not run because another process has the worker's name, which is the error then.
    pub async fn serve_and_tell(self, live: bool, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let queries = Arc::clone(&self.queries);
        let (refuse, refused) = tokio::sync::oneshot::channel();
        let telling = tokio::task::spawn_blocking(move || {
            let told = tell(&queries, live);
            // Nobody waits for it when the service has ended.
            let _ = refuse.send(queries.are_refused());
            told
        });
        let refused = async {
            if refused.await != Ok(true) {
                std::future::pending().await
            }
        };
        let shutdown = async {
            tokio::select! {
                () = shutdown => {}
                () = refused => {}
            }
        };
        self.serve(shutdown).await?;
        telling.await?
    }

    /// Serves until `shutdown` is done; then stops the queries after their current epochs, and finishes the open files.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        self.gateway.serve(self.listener, shutdown).await?;
        let (queries, sinks) = (self.queries, self.sinks);
        let stop = move || {
            queries.stop()?;
            sinks.into_iter().map(FileSink::stop).collect::<Result<Vec<()>, _>>()?;
            Ok(())
        };
        tokio::task::spawn_blocking(stop).await?
    }
}

/// The model that recognises: of this pipeline, or else of one that others run.
fn model(log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<Option<String>> {
    let of = |pipeline: &Pipeline| {
        let mut transcribes = pipeline
            .running
            .iter()
            .filter_map(|running| running.query.transcribes());
        transcribes.next().map(|transcribe| transcribe.model.to_string())
    };
    match of(pipeline) {
        Some(model) => Ok(Some(model)),
        None => Ok(of(&pipelines::published(&**log)?)),
    }
}

/// Says how the queries go until they have stopped. While the log can't be used, only on the terminal.
fn tell(queries: &Queries, live: bool) -> Result<()> {
    let mut table = StatusTable::new(live);
    let mut failing = false;
    let mut running = true;
    while running {
        // Once more when they have ended, as the last words say why.
        running = queries.is_running();
        let status = queries.status();
        let told = queries.publish(&status);
        if let Err(error) = &told
            && !failing
        {
            tracing::warn!(%error, "the log does not take how the queries go");
        }
        failing = told.is_err();
        table.show(&status);
        if running {
            std::thread::sleep(EVERY);
        }
    }
    Ok(())
}

/// Runs one query after another, each to the end of what is stored and of what those before it have made, and writes all files.
/// Says how they went.
pub fn run_to_the_end(
    log: &Arc<dyn Log>,
    pipeline: &Pipeline,
    options: impl Fn(&Running) -> RunOptions,
) -> Result<Vec<QueryStatus>> {
    let mut statuses = Vec::new();
    for running in &pipeline.running {
        let name = &running.query.name;
        let options = RunOptions {
            reading: Reading::ToTheEnd,
            attempts: Some(3),
            ..options(running)
        };
        let query = rechka_engine::run(Arc::clone(log), running.query.clone(), options)
            .with_context(|| format!("starting {name}"))?;
        statuses.push(wait(&running.query, query).with_context(|| format!("running {name}"))?);
        if let Some(sink) = start_sink(log, running)? {
            sink.finish()?;
        }
    }
    Ok(statuses)
}

/// Draws a bar until the query has ended.
fn wait(query: &Query, running: RunningQuery) -> Result<QueryStatus> {
    let mut status = QueryStatus::new(query, &running.statistics());
    let bar = ProgressBar::new(status.lag);
    bar.set_style(ProgressStyle::with_template(
        "{msg:20} {bar:40} {human_pos}/{human_len} {per_sec} {eta}",
    )?);
    bar.set_message(status.query.clone());
    while running.is_running() {
        std::thread::sleep(Duration::from_millis(100));
        status = QueryStatus::new(query, &running.statistics());
        bar.set_length(status.lag + status.records_in);
        bar.set_position(status.records_in);
    }
    let status = QueryStatus::new(query, &running.statistics());
    running.wait()?;
    bar.finish_and_clear();
    Ok(status)
}

/// Follows the views and the tables that change. One that can't be shown keeps nothing else from running.
pub fn follow_views(log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<Arc<Views>> {
    let relations = pipeline.catalog.iter().filter_map(|(_, named)| match named {
        Named::Relation(relation) if relation.kind != Kind::Stream && relation.file.is_none() => {
            Some(relation.as_ref().clone())
        }
        _ => None,
    });
    let relations = relations.filter(|relation| {
        let check = Views::check(relation);
        check
            .inspect_err(|error| tracing::warn!(%error, "a relation is not shown; queries use it all the same"))
            .is_ok()
    });
    let views = Arc::new(Views::new(Arc::clone(log), Default::default()));
    views.follow(relations.collect())?;
    Ok(views)
}

/// Starts the sinks that write files. They read what queries have committed.
fn start_sinks(log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<Vec<FileSink>> {
    let sinks = pipeline.running.iter().map(|running| start_sink(log, running));
    sinks.filter_map(Result::transpose).collect()
}

/// Starts the sink of a query, if its result goes into files.
fn start_sink(log: &Arc<dyn Log>, running: &Running) -> Result<Option<FileSink>> {
    let Some(files) = &running.files else {
        return Ok(None);
    };
    let relation = &running.query.result;
    let start = || -> Result<FileSink> {
        log.create_topic(&TopicSpec::new(Arc::clone(&relation.topic), relation.partitions))?;
        let (log, folder) = (Arc::clone(log), files.folder.clone());
        Ok(FileSink::spawn(
            log,
            relation.clone(),
            folder,
            files.format,
            Limits::default(),
        )?)
    };
    start().with_context(|| format!("starting {}", relation.name)).map(Some)
}

/// What the gateway asks of the sinks.
struct Sinks(Vec<SinkHealth>);

impl Probe for Sinks {
    fn name(&self) -> &str {
        "sinks"
    }

    fn ready(&self) -> Result<(), String> {
        let failing = self.0.iter().find_map(|sink| Some((sink.sink(), sink.error()?)));
        match failing {
            Some((sink, error)) => Err(format!("{sink}: {error}")),
            None => Ok(()),
        }
    }

    fn metrics(&self, text: &mut String) {
        let name = "rechka_sink_failing";
        text.push_str(&format!(
            "# HELP {name} Whether the last attempt to write files failed.\n# TYPE {name} gauge\n"
        ));
        for sink in &self.0 {
            let failing = u8::from(sink.error().is_some());
            text.push_str(&format!("{name}{{sink=\"{}\"}} {failing}\n", sink.sink()));
        }
    }
}

#[cfg(test)]
mod tests {
    use rechka_log::SqliteLog;
    use rechka_sql::{Mode, Statement};

    use super::*;

    #[test]
    fn a_table_that_can_not_be_shown_keeps_nothing_from_running() {
        let text = "CREATE TABLE shown (id BIGINT PRIMARY KEY, name TEXT) WITH (format = 'csv');
            CREATE TABLE hidden (id TEXT METADATA FROM 'key', name TEXT, PRIMARY KEY (id));";
        let mut pipeline = Pipeline::new(Mode::Stream, "");
        for statement in Statement::parse(text).unwrap() {
            pipeline.execute(statement).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
        for topic in ["shown", "hidden"] {
            log.create_topic(&TopicSpec::new(topic, 1)).unwrap();
        }
        let views = follow_views(&log, &pipeline).unwrap();
        assert!(views.get("shown").is_ok());
        assert!(views.get("hidden").is_err());
    }
}
