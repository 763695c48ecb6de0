//! `rechka demo shop`: visitors who are made up, and `pipelines/shop.sql` over what they do.
//!
//! Clicks go to `user-events`, purchases to `purchases`.
mod feed;
mod figures;
mod files;
mod letters;
mod products;
mod screen;
mod visitors;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rechka_engine::{Outside, RunOptions, pipelines};
use rechka_log::{Log, TopicPartition};
use rechka_sql::{Pipeline, Running};
use rechka_store::Views;
use tokio::task::JoinSet;

use crate::{cli, location::LogLocation, queries::Queries, runtime, service, service::Service};
use figures::Figures;
use letters::Letters;
use screen::Screen;

/// The visitors are the same in every demo.
const SEED: u64 = 1;
/// How much of the past there is when the shop opens: more than the longest window.
const HISTORY: Duration = Duration::from_secs(900);
/// An epoch that ends with the records that are fetched first.
const SHORT: Duration = Duration::from_millis(1);
/// How often the figures are drawn.
const EVERY: Duration = Duration::from_millis(500);
/// Views that have not read what is stored by then hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the shop in `folder`: for ever, or (`--once`) until its past is worked off.
pub fn run(arguments: &cli::Demo, folder: &Path) -> Result<()> {
    let log = LogLocation::Embedded(folder.join("log")).open()?;
    files::write(folder)?;
    let pipeline = Pipeline::read(files::PIPELINE, folder, &Outside::new(folder))?;
    pipelines::create_topics(&*log, &pipeline)?;
    pipelines::publish(&*log, files::NAME, files::PIPELINE, folder)?;
    if arguments.once {
        once(arguments, folder, &log, &pipeline)
    } else {
        runtime::run(for_ever(arguments, folder, log, &pipeline))
    }
}

fn once(arguments: &cli::Demo, folder: &Path, log: &Arc<dyn Log>, pipeline: &Pipeline) -> Result<()> {
    let rate = f64::from(arguments.rate);
    feed::backfill(&**log, SEED, rate, (rate * HISTORY.as_secs_f64()) as usize)?;
    let began = Instant::now();
    // Read at once, nothing would come late.
    let options = |_: &Running| RunOptions {
        epoch: SHORT,
        ..RunOptions::default()
    };
    let statuses = service::run_to_the_end(log, pipeline, options)?;
    let seconds = began.elapsed().as_secs_f64();
    let views = service::follow_views(log, pipeline)?;
    for view in views.list() {
        view.wait_until_ready(PATIENCE)?;
    }
    let records = records(&**log)?;
    println!("{}", Figures::read(&views, &statuses, Letters::new(log)?.count()?)?);
    println!("{records} records through {} queries in {seconds:.1} s", statuses.len());
    println!("{}", places(folder));
    Ok(())
}

async fn for_ever(arguments: &cli::Demo, folder: &Path, log: Arc<dyn Log>, pipeline: &Pipeline) -> Result<()> {
    Queries::create_status_topic(&*log)?;
    let service = Service::start(&log, pipeline, |_| RunOptions::default(), &arguments.listen).await?;
    println!("The shop is open: http://{}/views  (Ctrl-C ends)", service.address);
    println!("{}\n", places(folder));
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = JoinSet::new();
    work.spawn_blocking({
        let (log, stop, rate) = (Arc::clone(&log), Arc::clone(&stop), f64::from(arguments.rate));
        move || feed::live(&*log, SEED, rate, HISTORY, &stop)
    });
    work.spawn_blocking({
        let (queries, views) = (Arc::clone(&service.queries), Arc::clone(&service.views));
        let stop = Arc::clone(&stop);
        move || show(&log, &queries, &views, &stop)
    });
    let mut failed = None;
    let ended = async {
        tokio::select! {
            () = runtime::interrupted() => {}
            // Neither ends by itself before it is told to.
            result = work.join_next() => failed = result,
        }
    };
    let served = service.serve(ended).await;
    stop.store(true, Ordering::Relaxed);
    if let Some(result) = failed {
        result??;
    }
    while let Some(result) = work.join_next().await {
        result??;
    }
    served
}

/// Shows how it goes, and tells it in the log, until it is stopped.
fn show(log: &Arc<dyn Log>, queries: &Queries, views: &Views, stop: &AtomicBool) -> Result<()> {
    let (mut screen, mut letters) = (Screen::standard_output(), Letters::new(log)?);
    let mut before = (Instant::now(), records(&**log)?);
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        let status = queries.status();
        queries.publish(&status)?;
        if views.list().iter().any(|view| view.check().is_err()) {
            continue;
        }
        let now = (Instant::now(), records(&**log)?);
        let rate = (now.1 - before.1) as f64 / (now.0 - before.0).as_secs_f64();
        before = now;
        let figures = Figures::read(views, &status, letters.count()?).context("reading the views")?;
        let lag: u64 = status.iter().map(|status| status.lag).sum();
        screen.show(&format!(
            "{figures}{} records   {rate:.0} a second   {lag} wait\n",
            now.1
        ))?;
    }
    Ok(())
}

/// How many records the visitors have left.
fn records(log: &dyn Log) -> Result<u64> {
    let mut records = 0;
    for topic in log
        .topics()?
        .iter()
        .filter(|topic| visitors::TOPICS.contains(&&*topic.name))
    {
        for partition in 0..topic.partitions {
            records += log
                .offsets(&TopicPartition::new(Arc::clone(&topic.name), partition))?
                .end;
        }
    }
    Ok(records)
}

/// Where everything is, and how to ask for more.
fn places(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "The pipeline: {folder}/shop.sql   The orders: {folder}/shop-archive/*.parquet\n\
         Ask it: rechka sql --log embedded:{folder}/log -e \"SELECT * FROM revenue\""
    )
}
