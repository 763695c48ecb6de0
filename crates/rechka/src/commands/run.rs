//! `rechka run`: a pipeline, for ever.
use std::{io::IsTerminal, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rechka_emit::{FileSink, Limits};
use rechka_engine::{Delivery, Outside, Reading, RunOptions, pipelines};
use rechka_log::{Log, TopicSpec};
use rechka_serve::{Gateway, GatewayConfig};
use rechka_sql::{Kind, Pipeline, Running, catalog::Named, statement};
use rechka_store::Views;
use tokio::net::TcpListener;

use crate::{
    cli::{DeliveryArg, Run},
    queries::{Queries, QueryStatus},
    runtime,
    status_table::StatusTable,
};

/// How often it is said how the queries go.
const EVERY: Duration = Duration::from_secs(1);

/// Runs the pipeline until it is interrupted, or to the end of what is stored.
pub fn run(arguments: &Run) -> Result<()> {
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let folder = std::path::absolute(file)?
        .parent()
        .unwrap_or(Path::new("/"))
        .to_path_buf();
    let pipeline =
        Pipeline::read(&text, &folder, &Outside::new(&folder)).with_context(|| file.display().to_string())?;
    let log = arguments.log.log.open()?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    pipelines::create_topics(&*log, &pipeline)?;
    pipelines::publish(&*log, &name, &text, &folder)?;
    if arguments.once {
        once(arguments, &log, &pipeline)
    } else {
        for_ever(arguments, log, &pipeline)
    }
}

fn options(arguments: &Run, running: &Running) -> RunOptions {
    let delivery = match (arguments.delivery, running.delivery) {
        (_, statement::Delivery::AtLeastOnce) => Delivery::AtLeastOnce,
        (_, statement::Delivery::AtMostOnce) => Delivery::AtMostOnce,
        (None | Some(DeliveryArg::Exactly), statement::Delivery::ExactlyOnce) => Delivery::ExactlyOnce,
        (Some(DeliveryArg::AtLeast), statement::Delivery::ExactlyOnce) => Delivery::AtLeastOnce,
        (Some(DeliveryArg::AtMost), statement::Delivery::ExactlyOnce) => Delivery::AtMostOnce,
    };
    RunOptions {
        delivery,
        epoch: arguments.epoch,
        ..RunOptions::default()
    }
}

/// One query after another, each to the end of what those before it have made.
fn once(arguments: &Run, log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<()> {
    for running in &pipeline.running {
        let query = &running.query;
        let to_the_end = RunOptions {
            reading: Reading::ToTheEnd,
            attempts: Some(3),
            ..options(arguments, running)
        };
        let query = rechka_engine::run(Arc::clone(log), query.clone(), to_the_end)
            .with_context(|| format!("starting {}", query.name))?;
        let bar = ProgressBar::new(query.statistics().lag());
        bar.set_style(ProgressStyle::with_template(
            "{msg:20} {bar:40} {human_pos}/{human_len} {per_sec} {eta}",
        )?);
        bar.set_message(running.query.name.to_string());
        while query.is_running() {
            std::thread::sleep(Duration::from_millis(100));
            let status = QueryStatus::new(&query.statistics());
            bar.set_length(status.lag + status.records_in);
            bar.set_position(status.records_in);
        }
        let status = QueryStatus::new(&query.statistics());
        query
            .wait()
            .with_context(|| format!("running {}", running.query.name))?;
        bar.finish_and_clear();
        if let Some(sink) = sink(log, running)? {
            sink.finish()?;
        }
        eprintln!(
            "{}: {} records in, {} rows out, {} late, {} dead",
            status.query, status.records_in, status.rows_out, status.late, status.dead
        );
    }
    Ok(())
}

fn for_ever(arguments: &Run, log: Arc<dyn Log>, pipeline: &Pipeline) -> Result<()> {
    Queries::create_status_topic(&*log)?;
    let _sinks = sinks(&log, pipeline)?;
    let queries = Arc::new(Queries::start(&log, pipeline, |running| options(arguments, running))?);
    let relations = pipeline.catalog.iter().filter_map(|(_, named)| match named {
        Named::Relation(relation) if relation.kind != Kind::Stream && relation.file.is_none() => {
            Some(relation.as_ref().clone())
        }
        _ => None,
    });
    let views = Arc::new(Views::new(Arc::clone(&log), Default::default()));
    views.follow(relations.collect())?;
    runtime::run(async {
        let listen = &arguments.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("listening on {listen} (is it taken? another address: --listen 127.0.0.1:9000)")
        })?;
        eprintln!("views and metrics: http://{}/views", listener.local_addr()?);
        let gateway = Gateway::with_views(log, GatewayConfig::default(), vec![queries.clone()], views)?;
        let telling = tokio::task::spawn_blocking({
            let queries = queries.clone();
            move || tell(&queries)
        });
        gateway.serve(listener, runtime::interrupted()).await?;
        tokio::task::spawn_blocking(move || queries.stop()).await??;
        telling.await?
    })
}

/// Starts the sinks that write files. They read what queries have committed.
fn sinks(log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<Vec<FileSink>> {
    pipeline
        .running
        .iter()
        .filter_map(|running| sink(log, running).transpose())
        .collect()
}

/// Starts the sink of a query, if its result goes into files.
fn sink(log: &Arc<dyn Log>, running: &Running) -> Result<Option<FileSink>> {
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

/// Says in the log and on the terminal how the queries go, until they have stopped.
fn tell(queries: &Queries) -> Result<()> {
    let mut table = StatusTable::new(std::io::stderr().is_terminal());
    while queries.is_running() {
        let status = queries.status();
        queries.publish(&status)?;
        table.show(&status);
        std::thread::sleep(EVERY);
    }
    Ok(())
}
