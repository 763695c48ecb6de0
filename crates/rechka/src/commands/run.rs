//! `rechka run`: a pipeline, for ever.
use std::{io::IsTerminal, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use rechka_engine::{Delivery, Outside, RunOptions, pipelines};
use rechka_log::Log;
use rechka_sql::{Pipeline, Running, statement};

use crate::{
    cli::{DeliveryArg, Run},
    queries::Queries,
    runtime, service,
    service::Service,
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
        for_ever(arguments, &log, &pipeline)
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

fn once(arguments: &Run, log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<()> {
    for status in service::run_to_the_end(log, pipeline, |running| options(arguments, running))? {
        eprintln!(
            "{}: {} records in, {} rows out, {} late, {} dead",
            status.query, status.records_in, status.rows_out, status.late, status.dead
        );
    }
    Ok(())
}

fn for_ever(arguments: &Run, log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<()> {
    Queries::create_status_topic(&**log)?;
    runtime::run(async {
        let options = |running: &Running| options(arguments, running);
        let service = Service::start(log, pipeline, options, &arguments.listen).await?;
        eprintln!("views and metrics: http://{}/views", service.address);
        let queries = Arc::clone(&service.queries);
        let telling = tokio::task::spawn_blocking(move || tell(&queries));
        service.serve(runtime::interrupted()).await?;
        telling.await?
    })
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
