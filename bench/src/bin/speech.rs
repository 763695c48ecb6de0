//! Times of Whisper's encoder and decoder on the checkpoints in the given folders.
//!
//! ```text
//! cargo run --release -p rechka-bench --bin speech -- [--threads N] [--f32] FOLDER…
//! ```
//! One JSON object per folder on standard output: `[least wall time, mean processor time of all threads]` in milliseconds.
//! The least of many runs is what the machine can do; processor time can be compared on a busy machine too.
//! `bench/speech/peers.py` puts another program's times beside them.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rechka_bench::Stopwatch;
use rechka_speech::whisper::{
    Cache, Context as Heard, Encoded, Ended, Lane, Mel, Model, Options, Precision, Request, SAMPLE_RATE, Tokenizer,
    Transcriber,
};

/// The utterance that is not padded.
const SECONDS: usize = 11;
/// Tokens per decoded hypothesis, after the prompt.
const TOKENS: usize = 32;
/// Tokens of a whole utterance: what a speaker says in that time.
const UTTERANCE_TOKENS: usize = 30;
/// Hypotheses decoded together.
const BATCH: usize = 8;
/// How long each measurement takes.
const BUDGET_SECONDS: f64 = 6.0;

fn main() -> Result<()> {
    let mut threads = None;
    let mut precision = Precision::Int8;
    let mut folders = Vec::new();
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--threads") => {
                let number = arguments.next().context("--threads needs a number")?;
                threads = Some(number.to_string_lossy().parse().context("--threads needs a number")?);
            }
            Some("--f32") => precision = Precision::F32,
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    for folder in folders {
        let mut model = Model::load(&folder, precision)?;
        if let Some(threads) = threads {
            model = model.with_threads(threads)?;
        }
        println!("{}", measure(&folder, model)?);
    }
    Ok(())
}

fn measure(folder: &Path, model: Model) -> Result<serde_json::Value> {
    let audio = audio(SECONDS);
    let transcriber = Transcriber::new(model, Tokenizer::load(folder)?)?;
    let model = transcriber.model();
    let mel = least(|| Ok(model.mel(&audio)))?;
    let short = model.mel(&audio);
    let full = short.clone().padded(model.full_window());
    let heard = model.encode(std::slice::from_ref(&short))?.remove(0);
    let heard_full = model.encode(std::slice::from_ref(&full))?.remove(0);
    let apart: Vec<Encoded> = model.encode(&vec![short.clone(); BATCH])?;
    Ok(serde_json::json!({
        "model": folder.file_name().map(|name| name.to_string_lossy()),
        "mel": mel,
        "encode_full": encoding(model, &full)?,
        "encode_short": encoding(model, &short)?,
        "token_alone": decoding(model, std::slice::from_ref(&heard))?,
        "token_alone_full": decoding(model, std::slice::from_ref(&heard_full))?,
        "token_batch": decoding(model, &apart)?,
        "token_beam": decoding(model, &vec![heard; 5])?,
        "utterance": utterance(&transcriber, &audio, Options::default())?,
        "utterance_padded": utterance(
            &transcriber,
            &audio,
            Options { context: Heard::Padded, beam_size: 5, ..Options::default() },
        )?,
    }))
}

/// From the samples to a text of [`UTTERANCE_TOKENS`], without the second thoughts that random weights would give. Nothing if the text
/// ends by itself.
fn utterance(transcriber: &Transcriber, audio: &[f32], options: Options) -> Result<Option<[f64; 2]>> {
    let options = Options {
        language: Some("en".to_owned()),
        temperatures: vec![0.0],
        log_prob_threshold: f32::NEG_INFINITY,
        max_tokens: Some(UTTERANCE_TOKENS),
        ..options
    };
    let request = Request {
        audio,
        prompt: "",
        prefix: "",
        options: &options,
    };
    let hear = || Ok(transcriber.transcribe(&[request]).remove(0)?);
    if hear()?.ended != Ended::Budget {
        return Ok(None);
    }
    least(hear).map(Some)
}

fn encoding(model: &Model, mel: &Mel) -> Result<[f64; 2]> {
    least(|| Ok(model.encode(std::slice::from_ref(mel))?))
}

/// The times per token when a hypothesis for each of `audio` is decoded together with the others.
fn decoding(model: &Model, audio: &[Encoded]) -> Result<[f64; 2]> {
    let times = least(|| {
        let mut caches = vec![Cache::new(); audio.len()];
        let mut tokens = vec![model.config().start_of_transcript; audio.len()];
        for _ in 0..TOKENS {
            let mut lanes: Vec<Lane<'_>> = audio
                .iter()
                .zip(&mut caches)
                .zip(&tokens)
                .map(|((audio, cache), token)| Lane::new(audio, cache, std::slice::from_ref(token)))
                .collect();
            let steps = model.decode(&mut lanes)?;
            tokens = steps.iter().map(|step| likeliest(&step.logits)).collect();
        }
        Ok(tokens)
    })?;
    Ok(times.map(|time| time / (TOKENS * audio.len()) as f64))
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(token, _)| token as u32)
}

fn audio(seconds: usize) -> Vec<f32> {
    (0..seconds * SAMPLE_RATE)
        .map(|n| {
            let t = n as f32 / SAMPLE_RATE as f32;
            (t * 1200.0).sin() * (t * 9.0).sin() * 0.3 + (t * 3100.0).sin() * 0.1
        })
        .collect()
}

/// The least wall time and the mean processor time that `run` takes, in milliseconds.
fn least<T>(mut run: impl FnMut() -> Result<T>) -> Result<[f64; 2]> {
    run()?;
    let all = Stopwatch::start();
    let mut best = f64::INFINITY;
    let mut runs = 0.0;
    while all.seconds() < BUDGET_SECONDS {
        let one = Stopwatch::start();
        std::hint::black_box(run()?);
        best = best.min(one.seconds());
        runs += 1.0;
    }
    Ok([best * 1000.0, all.processor_seconds() * 1000.0 / runs])
}
