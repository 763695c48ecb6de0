//! How many people may speak at once: `cargo run --release -p rechka-bench --features engine --bin live [MODEL [SECONDS]]`.
//!
//! Speakers tell the demo's story at real speed into the embedded log, each from another moment on; the recogniser writes transcripts.
//! "final" is the time from the end of the last word of a segment, as sounded, to its durable transcript in a reader's hands. The
//! number of speakers doubles, then is halved in between, until the 95th percentile of that is 1.5 s. MODEL is a folder (default
//! `models/digits`), SECONDS how long each number speaks (default 30).
use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rechka_bench::{Stopwatch, percentile};
use rechka_engine::{LoadedModel, Models, Outside, RunOptions, Speech};
use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition, partition_for_key};
use rechka_speech::{
    audio::AudioFile,
    live,
    whisper::{Precision, Transcriber},
};
use rechka_sql::{Pipeline, plan};
use rechka_types::{Kind, Transcript, headers, topics};

/// What is measured.
const CAPTIONS: &str = include_str!("../../../pipelines/captions.sql");
/// Samples in a second.
const RATE: f64 = 16_000.0;
/// Samples in a record: 100 ms.
const CHUNK: usize = 1_600;
/// The bound on the 95th percentile of finals.
const BOUND: Duration = Duration::from_millis(1_500);
/// No more speakers than this are tried.
const MOST: usize = 1_024;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let model = arguments.next().map_or_else(|| root.join("models/digits"), Into::into);
    let seconds: f64 = arguments
        .next()
        .map_or(Ok(30.0), |text| text.parse())
        .context("SECONDS")?;
    let transcriber = Transcriber::load(&model, Precision::Int8)?;
    let model = LoadedModel {
        version: "bench".into(),
        live: live::Config::for_model(&model, transcriber.window() as f64 / RATE)?,
        model: Arc::new(transcriber),
    };
    let mut story = Vec::new();
    for chunk in AudioFile::open(root.join("crates/rechka/story/story.flac"))? {
        story.extend(chunk?.iter().map(|sample| (sample * f32::from(i16::MAX)) as i16));
    }
    let story = Arc::new(story);

    println!(
        "{:>9}{:>10}{:>10}{:>10}{:>14}{:>14}",
        "speakers", "finals", "p50 ms", "p95 ms", "work/sound", "cpu cores"
    );
    let holds = |speakers| -> Result<bool> { Ok(round(speakers, seconds, &model, &story)? <= BOUND) };
    let mut most = 1;
    while most < MOST && holds(most)? {
        most *= 2;
    }
    let (mut good, mut bad) = (most / 2, most);
    while bad - good > (good / 8).max(1) {
        let middle = good.midpoint(bad);
        if holds(middle)? { good = middle } else { bad = middle }
    }
    println!(
        "{good} speakers at once with p95 of the final within {} ms",
        BOUND.as_millis()
    );
    Ok(())
}

/// There is one model, whatever is asked for.
struct Only(LoadedModel);

impl Models for Only {
    fn open(&self, _: &str, _: plan::Precision) -> Result<LoadedModel, String> {
        Ok(self.0.clone())
    }
}

/// Lets `speakers` speak for `seconds`; the 95th percentile of the latency of finals.
fn round(speakers: usize, seconds: f64, model: &LoadedModel, story: &Arc<Vec<i16>>) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path())?);
    let mut query = Pipeline::read(CAPTIONS, "".as_ref(), &Outside::new(""))?
        .running
        .remove(0)
        .query;
    if let Some(transcribe) = query.transcribes_mut() {
        transcribe.language = Some("en".into());
    }
    let partitions = query.result.partitions;
    let mut speech = Speech {
        models: Arc::new(Only(model.clone())),
        ..Speech::default()
    };
    speech.max_sessions = speech.max_sessions.max(speakers);
    let options = RunOptions {
        speech,
        ..RunOptions::default()
    };
    let recogniser = rechka_engine::run(log.clone(), query, options)?;
    let mut finals = log.read(
        (0..partitions)
            .map(|number| (TopicPartition::new(topics::TRANSCRIPTS, number), 0))
            .collect(),
    )?;

    let watch = Stopwatch::start();
    let began = Instant::now();
    let speaking = {
        let (log, story) = (log.clone(), story.clone());
        thread::spawn(move || speak(&*log, speakers, partitions, seconds, &story, began))
    };
    let mut latencies = Vec::new();
    let mut ended = 0;
    while ended < speakers {
        let Some(fetched) = finals.poll(Duration::from_secs(1))? else {
            continue;
        };
        let now = began.elapsed().as_secs_f64();
        for record in fetched.batch.iter() {
            let transcript: Transcript = serde_json::from_slice(record.value)?;
            match (transcript.kind, transcript.words.last()) {
                (Kind::End, _) => ended += 1,
                (Kind::Speech, Some(word)) => latencies.push(Duration::from_secs_f64((now - word.end).max(0.0))),
                _ => {}
            }
        }
    }
    let (wall, cpu) = (watch.seconds(), watch.processor_seconds());
    speaking.join().map_err(|_| anyhow::anyhow!("the speakers failed"))??;
    let (p50, p95) = (percentile(&mut latencies, 0.50), percentile(&mut latencies, 0.95));
    println!(
        "{speakers:>9}{:>10}{:>10.0}{:>10.0}{:>14.4}{:>14.2}",
        latencies.len(),
        p50.as_secs_f64() * 1e3,
        p95.as_secs_f64() * 1e3,
        recogniser
            .recognition()
            .map_or(0.0, |metrics| metrics.real_time_factor()),
        cpu / wall,
    );
    recogniser.stop()?;
    Ok(p95)
}

/// One thread speaks for all: every 100 ms a chunk of each.
fn speak(log: &dyn Log, speakers: usize, partitions: u32, seconds: f64, story: &[i16], began: Instant) -> Result<()> {
    let chunks = (seconds * RATE) as usize / CHUNK;
    for chunk in 0..=chunks {
        let sounded = Duration::from_secs_f64(((chunk + 1) * CHUNK) as f64 / RATE);
        thread::sleep((began + sounded).saturating_duration_since(Instant::now()));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_millis() as i64;
        let mut builders: Vec<BatchBuilder> = (0..partitions).map(|_| BatchBuilder::new()).collect();
        for speaker in 0..speakers {
            let session = format!("speaker-{speaker}");
            let frame = (chunk * CHUNK).to_string();
            let mut described = vec![
                (headers::ENCODING, b"pcm_s16le".as_slice()),
                (headers::RATE, b"16000"),
                (headers::CHANNELS, b"1"),
                (headers::FRAME, frame.as_bytes()),
            ];
            let mut bytes = Vec::with_capacity(CHUNK * 2);
            if chunk == chunks {
                described.push((headers::CONTROL, headers::END.as_bytes()));
            } else {
                let from = chunk * CHUNK + speaker * 7_919 * 7; // everybody tells another part
                let samples = story.iter().cycle().skip(from % story.len()).take(CHUNK);
                bytes.extend(samples.flat_map(|sample| sample.to_le_bytes()));
            }
            let partition = partition_for_key(session.as_bytes(), partitions);
            builders[partition as usize].push(Some(session.as_bytes()), &bytes, now, &described)?;
        }
        let filled = builders.into_iter().zip(0..).filter(|(builder, _)| !builder.is_empty());
        let appends = filled.map(|(builder, partition)| Append {
            to: TopicPartition::new(topics::AUDIO, partition),
            batch: builder.finish(),
        });
        log.append(appends.collect())?.wait()?;
    }
    Ok(())
}
