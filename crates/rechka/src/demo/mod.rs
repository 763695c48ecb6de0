//! `rechka demo`: everything at once, speaking to itself.
mod measures;
mod report;
mod screen;
mod shop;
mod speaker;
mod story;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rechka_log::{Log, TopicPartition, Worker, partition_for_key};
use rechka_types::{Kind, Partial, Transcript, topics};

use crate::{
    bundled,
    captions::{self, Recognition},
    cli,
    cli::Show,
    location::LogLocation,
    runtime,
};
use measures::Measures;
use report::Report;
use screen::Screen;

/// The session that the story is told in.
const SESSION: &str = "story";
/// A story that is not heard to its end by then has hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shows what it is asked for, over a log of its own.
pub fn run(arguments: &cli::Demo) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("rechka-demo-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    match arguments.show {
        Show::Story => story(arguments, &folder),
        Show::Shop => shop::run(arguments, &folder),
    }
}

/// Tells the story; then ends (`--once`), or serves on.
fn story(arguments: &cli::Demo, folder: &Path) -> Result<()> {
    let log = LogLocation::Embedded(folder.join("log")).open()?;
    runtime::run(tell_and_serve(arguments, log, folder))
}

async fn tell_and_serve(arguments: &cli::Demo, log: Arc<dyn Log>, folder: &Path) -> Result<()> {
    let recognition = Recognition::Here {
        model: &cli::ModelArgs::default(),
        audio: None,
        worker: Worker::unnamed(),
    };
    let service = captions::start(&log, recognition, &arguments.listen).await?;
    let (page, metrics) = (format!("http://{}", service.address), service.queries.recognition());
    println!(
        "The model {:?} listens to a story of digits. The same live on the page: {page}\n",
        bundled::NAME
    );

    let (done, told) = tokio::sync::oneshot::channel::<()>();
    let once = arguments.once;
    let serving = tokio::spawn(service.serve_and_tell(false, async move {
        // Dropped without a word when the story fails: then everything stops.
        let told = told.await.is_ok();
        if told && !once {
            runtime::interrupted().await;
        }
    }));
    let began = Instant::now();
    let telling = {
        let (log, folder) = (log.clone(), folder.to_owned());
        tokio::task::spawn_blocking(move || tell(&log, &folder))
    };
    let report = tokio::select! {
        report = telling => report??,
        () = runtime::interrupted() => return Ok(()),
    };
    let seconds = began.elapsed().as_secs_f64();
    println!("\n{report}");
    println!(
        "{:<28}{:.3}  (seconds of work per second of sound)",
        "real-time factor",
        metrics.map_or(0.0, |metrics| metrics.real_time_factor())
    );
    println!("{:<28}{seconds:.1} s", "the whole story");
    if !once {
        println!("\nNow speak digits yourself: {page}  (Ctrl-C ends)");
    }
    // The receiver is gone only when serving has failed; the error comes next.
    let _ = done.send(());
    serving.await?
}

/// Speaks the story into the log, shows what comes back, and writes the subtitles.
fn tell(log: &Arc<dyn Log>, folder: &Path) -> Result<Report> {
    let partitions = log
        .topics()?
        .into_iter()
        .find(|topic| &*topic.name == topics::AUDIO)
        .map_or(1, |topic| topic.partitions);
    let partition = partition_for_key(SESSION.as_bytes(), partitions);
    let place = |topic: &str| TopicPartition::new(topic, partition);
    let mut captions = log.read(vec![(place(topics::TRANSCRIPTS), 0), (place(topics::PARTIALS), 0)])?;

    let words = story::words()?;
    let sound = story::samples()?;
    let began = Instant::now();
    let speaking = speaker::speak(log.clone(), SESSION, place(topics::AUDIO), sound, began);
    let mut measures = Measures::new(began, words.clone());
    let mut screen = Screen::standard_output();
    let mut transcripts: Vec<Transcript> = Vec::new();
    while !transcripts.last().is_some_and(|last| last.kind == Kind::End) {
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "the recogniser did not finish: see its errors above"
        );
        let Some(fetched) = captions.poll(Duration::from_secs(1))? else {
            continue;
        };
        let now = Instant::now();
        for record in fetched
            .batch
            .iter()
            .filter(|record| record.key == Some(SESSION.as_bytes()))
        {
            if &*fetched.from.topic == topics::PARTIALS {
                let partial: Partial = serde_json::from_slice(record.value)?;
                measures.partial(&partial, now);
                screen.partial(&partial)?;
            } else {
                let transcript: Transcript = serde_json::from_slice(record.value)?;
                measures.transcript(&transcript, now);
                screen.transcript(&transcript)?;
                transcripts.push(transcript);
            }
        }
    }
    speaking.join().map_err(|_| anyhow::anyhow!("the speaker failed"))??;
    Report::new(folder, &transcripts, &words, &measures)
}
