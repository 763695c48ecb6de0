//! `rechka run`: a pipeline, for ever.
use std::{io::IsTerminal, path::Path, sync::Arc};

use anyhow::{Context, Result};
use rechka_engine::{Delivery, Outside, RunOptions, Speech, Standbys, pipelines};
use rechka_log::{Log, Worker};
use rechka_sql::{Pipeline, Running, statement};

use crate::{
    cli::{DeliveryArg, Run},
    models,
    queries::Queries,
    runtime, service,
    service::Service,
};

/// Runs the pipeline until it is interrupted, or to the end of what is stored.
pub fn run(arguments: &Run) -> Result<()> {
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let folder = std::path::absolute(file)?
        .parent()
        .unwrap_or(Path::new("/"))
        .to_path_buf();
    let log = arguments.log.log.open()?;
    let outside = Outside::new(&folder).over(&*log)?;
    let pipeline = Pipeline::read(&text, &folder, &outside).with_context(|| file.display().to_string())?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    pipelines::create_topics(&*log, &pipeline)?;
    pipelines::publish(&*log, &name, &text, &folder)?;
    let speech = models::speech(&folder);
    let worker = arguments.worker.worker();
    let options = |running: &Running| options(arguments, running, &worker, &speech);
    if arguments.once {
        once(&log, &pipeline, options)
    } else {
        for_ever(arguments, &log, &pipeline, options)
    }
}

fn options(arguments: &Run, running: &Running, worker: &Worker, speech: &Speech) -> RunOptions {
    let delivery = match (running.delivery, arguments.delivery) {
        (Some(statement::Delivery::ExactlyOnce), _) | (None, None | Some(DeliveryArg::Exactly)) => {
            Delivery::ExactlyOnce
        }
        (Some(statement::Delivery::AtLeastOnce), _) | (None, Some(DeliveryArg::AtLeast)) => Delivery::AtLeastOnce,
        (Some(statement::Delivery::AtMostOnce), _) | (None, Some(DeliveryArg::AtMost)) => Delivery::AtMostOnce,
    };
    RunOptions {
        delivery,
        epoch: arguments.epoch,
        worker: worker.clone(),
        standbys: match arguments.standbys.unwrap_or(u32::from(arguments.log.log.is_shared())) {
            0 => Standbys::None,
            _ => Standbys::One,
        },
        speech: speech.clone(),
        ..RunOptions::default()
    }
}

fn once(log: &Arc<dyn Log>, pipeline: &Pipeline, options: impl Fn(&Running) -> RunOptions) -> Result<()> {
    for status in service::run_to_the_end(log, pipeline, options)? {
        eprintln!(
            "{}: {} records in, {} rows out, {} late, {} dead",
            status.query, status.records_in, status.rows_out, status.late, status.dead
        );
    }
    Ok(())
}

fn for_ever(
    arguments: &Run,
    log: &Arc<dyn Log>,
    pipeline: &Pipeline,
    options: impl Fn(&Running) -> RunOptions,
) -> Result<()> {
    Queries::create_status_topic(&**log)?;
    runtime::run(async {
        let service = Service::start(log, pipeline, options, &arguments.listen).await?;
        let (address, recognises) = (service.address, service.queries.recognition().is_some());
        if recognises {
            eprintln!("captions, with your microphone: http://{address}");
        }
        eprintln!("views and metrics: http://{address}/views");
        service
            .serve_and_tell(std::io::stderr().is_terminal(), runtime::interrupted())
            .await
    })
}
