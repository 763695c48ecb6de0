//! The bundled model, real voices, real voice activity detection: from the log to transcripts and back from a crash.
//!
//! Needs recordings of spoken digits (`{digit}_{speaker}_{index}.wav`) in `../shared/data/fsdd` beside the checkout, or in
//! `RECHKA_FSDD`; without them it says so and does nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
mod common;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use common::*;
use rechka_engine::{LoadedModel, Speech};
use rechka_log::{Log, SqliteLog};
use rechka_speech::{
    live::{self, Policy},
    whisper::{Precision, Transcriber},
};
use rechka_types::{Kind, topics};

const DIGITS: [&str; 10] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];
const SPEAKERS: [&str; 6] = ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"];
const RATE: u32 = 8_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn recordings() -> Option<PathBuf> {
    let folder = std::env::var_os("RECHKA_FSDD").map_or_else(|| root().join("../shared/data/fsdd"), PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: there are no recordings in {}", folder.display());
        return None;
    }
    Some(folder)
}

fn model() -> PathBuf {
    root().join("models/digits")
}

static MODEL: LazyLock<Arc<Transcriber>> =
    LazyLock::new(|| Arc::new(Transcriber::load(&model(), Precision::Int8).unwrap()));

fn digits(policy: Policy) -> LoadedModel {
    let mut live = live::Config::for_model(&model(), MODEL.window() as f64 / 16_000.0).unwrap();
    live.policy = policy;
    LoadedModel {
        version: "test".into(),
        model: MODEL.clone(),
        live,
    }
}

/// Strings of digits by one speaker as s16le, with what is said in them.
fn strings(folder: &Path, speaker: usize, strings: usize) -> (Vec<u8>, Vec<&'static str>) {
    let mut bytes = vec![0; RATE as usize];
    let mut said = Vec::new();
    let mut number = speaker * 7;
    for string in 0..strings {
        for place in 0..3 + (speaker + string) % 4 {
            number += 3 + place;
            let (digit, index) = (number % 10, 5 + number % 5);
            let name = format!("{digit}_{}_{index}.wav", SPEAKERS[speaker]);
            let file = std::fs::read(folder.join(name)).unwrap();
            bytes.extend_from_slice(&file[44..44 + (file.len() - 44) / 2 * 2]);
            bytes.resize(bytes.len() + RATE as usize * (10 + number % 20) / 100 * 2, 0);
            said.push(DIGITS[digit]);
        }
        bytes.resize(bytes.len() + RATE as usize * 3, 0);
    }
    // A little noise, so that silence is not digital.
    let mut state = 1_u32;
    for sample in bytes.chunks_exact_mut(2) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 28) as i16 - 8;
        let noisy = i16::from_le_bytes([sample[0], sample[1]]).saturating_add(noise);
        sample.copy_from_slice(&noisy.to_le_bytes());
    }
    (bytes, said)
}

/// Edits from one list of words to another.
fn edits(from: &[&str], to: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let best = (diagonal + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[to.len()]
}

fn record(log: &Arc<dyn Log>, folder: &Path) -> Vec<(String, Vec<&'static str>)> {
    create_audio_topic(&**log);
    let mut said = Vec::new();
    let sessions = (0..SPEAKERS.len()).map(|speaker| {
        let (bytes, words) = strings(folder, speaker, 4);
        said.push((SPEAKERS[speaker].to_owned(), words));
        session(SPEAKERS[speaker], &bytes, RATE, 800)
    });
    append(&**log, &interleave(sessions.collect()));
    said
}

#[test]
fn digits_are_recognised_and_a_crash_changes_nothing() {
    let Some(folder) = recordings() else { return };
    for policy in [Policy::LocalAgreement, Policy::AlignAtt] {
        let directory = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
        let said = record(&log, &folder);
        let recogniser = start(&log, digits(policy), Speech::default()).unwrap();
        let metrics = recogniser.recognition().unwrap().clone();
        wait_for(&*log, said.len());
        recogniser.stop().unwrap();
        let found = transcripts(&*log);
        let (mut wrong, mut total) = (0, 0);
        for (session, words) in &said {
            let segments = found
                .iter()
                .filter(|found| found.session == *session && found.kind == Kind::Speech);
            let text: Vec<&str> = segments.map(|found| found.text.as_str()).collect();
            let heard: Vec<&str> = text.iter().flat_map(|text| text.split_whitespace()).collect();
            let errors = edits(words, &heard);
            eprintln!(
                "{session}: {errors} of {}\n  said  {}\n  heard {}",
                words.len(),
                words.join(" "),
                text.join(" | ")
            );
            wrong += errors;
            total += words.len();
        }
        eprintln!(
            "{policy:?}: word error {:.1} %, real-time factor {:.3}, {} requests in {} batches",
            100.0 * wrong as f64 / total as f64,
            metrics.real_time_factor(),
            metrics.requests(),
            metrics.batches()
        );
        assert!(wrong * 5 < total, "{policy:?}: {wrong} errors in {total} words");
        let expected = read(&*log, topics::TRANSCRIPTS);

        let directory = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
        record(&log, &folder);
        let small_steps = Speech {
            max_backlog: 3.0,
            ..Speech::default()
        };
        for fault in [5, 17, 11, 23, 40].map(Fault::Dies) {
            let faulty: Arc<dyn Log> = Faulty::new(log.clone(), fault);
            let recogniser = start(&faulty, digits(policy), small_steps.clone()).unwrap();
            wait_until("it dies or is done", || {
                !recogniser.is_running() || complete(&*log) == said.len()
            });
        }
        let recogniser = start(&log, digits(policy), Speech::default()).unwrap();
        wait_for(&*log, said.len());
        recogniser.stop().unwrap();
        assert_eq!(read(&*log, topics::TRANSCRIPTS), expected, "{policy:?}");
    }
}
