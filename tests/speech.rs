//! `pipelines/captions.sql` as a process of its own: run to the end, killed on its way, and asked at once, it says the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, unused_imports, reason = "not every test serves")]
mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Append, BatchBuilder, Log, Partition, SqliteLog, TopicPartition, TopicSpec, partition_for_key};
use rechka_speech::text::WordErrors;
use rechka_types::{headers, topics};
use serde_json::Value;
use support::story;

const PARTITIONS: Partition = 4;
const RATE: usize = 16_000;
/// Samples in a record: 250 ms.
const CHUNK: usize = RATE / 4;
/// Who speaks, and from which second of the story on.
const SPEAKERS: [(&str, usize); 3] = [("anna", 0), ("boris", 9), ("vera", 17)];
const SECONDS: usize = 15;
/// When the first of it was said, in milliseconds since 1970.
const BEGAN: i64 = 1_750_000_000_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// What anna says.
const SAID: &str = "seven three oh five one two three four five nine eight seven six four four two zero one nine";

fn pipeline(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines").join(name)
}

fn rechka(log: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rechka"));
    command
        .args(arguments)
        .arg("--log")
        .arg(format!("embedded:{}", log.display()));
    command
}

/// What a command says on standard output.
fn said_by(log: &Path, arguments: &[&str]) -> String {
    let output = rechka(log, arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Appends a part of what all speakers say, by turns: as browsers' audio with headers, or as bare samples.
fn append(folder: &Path, topic: &str, part: std::ops::Range<usize>, bare: bool) {
    let log = SqliteLog::open(folder).unwrap();
    log.create_topic(&TopicSpec::new(topic, PARTITIONS)).unwrap();
    let story = story();
    let chunks = SECONDS * RATE / CHUNK;
    for chunk in part {
        for (name, from) in SPEAKERS {
            let first = chunk * CHUNK;
            let samples = &story[from * RATE + first..from * RATE + first + CHUNK];
            let bytes: Vec<u8> = samples
                .iter()
                .flat_map(|sample| ((sample * f32::from(i16::MAX)) as i16).to_le_bytes())
                .collect();
            let frame = first.to_string();
            let mut described: Vec<(&str, &[u8])> = vec![
                (headers::ENCODING, b"pcm_s16le"),
                (headers::RATE, b"16000"),
                (headers::CHANNELS, b"1"),
                (headers::FRAME, frame.as_bytes()),
            ];
            if bare {
                described.clear();
            }
            let mut batch = BatchBuilder::new();
            let time = BEGAN + (first + CHUNK) as i64 * 1_000 / RATE as i64;
            batch.push(Some(name.as_bytes()), &bytes, time, &described).unwrap();
            if chunk + 1 == chunks {
                let end: [(&str, &[u8]); 1] = [(headers::CONTROL, headers::END.as_bytes())];
                batch.push(Some(name.as_bytes()), &[], time, &end).unwrap();
            }
            let to = TopicPartition::new(topic, partition_for_key(name.as_bytes(), PARTITIONS));
            let batch = batch.finish();
            log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
        }
    }
}

fn all() -> std::ops::Range<usize> {
    0..SECONDS * RATE / CHUNK
}

/// The transcripts in the log, those of each session in order.
fn transcripts(log: &Path) -> Vec<String> {
    let mut lines: Vec<_> = said_by(log, &["consume", "transcripts"])
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort_by_key(|line| field(line, "session"));
    lines
}

fn field(line: &str, name: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    value[name].as_str().unwrap_or_default().to_owned()
}

/// What a session says, by its transcripts.
fn text(lines: &[String], session: &str) -> String {
    let of_session = lines.iter().filter(|line| field(line, "session") == session);
    let texts: Vec<_> = of_session.map(|line| field(line, "text")).collect();
    texts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Rows without columns that are NULL or empty, which records don't have, and without those that they don't have in their value.
fn rows(log: &Path, query: &[&str]) -> Vec<String> {
    let text = said_by(log, &[&["sql", "--batch", "--format", "json"], query].concat());
    let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with('{')).map(tidy).collect();
    lines.sort();
    lines
}

fn tidy(line: &str) -> String {
    let Value::Object(mut row) = serde_json::from_str(line).unwrap() else {
        panic!("{line} is no object")
    };
    row.retain(|name, value| name != "ts" && !value.is_null() && *value != "" && *value != Value::Array(vec![]));
    if let Some(words) = row.get_mut("words").and_then(Value::as_array_mut) {
        for word in words {
            // A REAL has more digits as a DOUBLE.
            word["probability"] = format!("{:.5}", word["probability"].as_f64().unwrap()).into();
        }
    }
    Value::Object(row).to_string()
}

#[test]
fn captions_are_the_same_to_the_end_killed_on_the_way_and_at_once() {
    let (calm, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let captions = pipeline("captions.sql");
    let captions = captions.to_str().unwrap();

    append(calm.path(), topics::AUDIO, all(), false);
    let told = rechka(calm.path(), &["run", "--once", captions]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let records = SPEAKERS.len() * (all().len() + 1);
    assert!(
        told.contains(&format!("transcripts: {records} records in, ")) && told.contains(" 0 dead"),
        "{told}"
    );
    let expected = transcripts(calm.path());
    let errors = WordErrors::compare(SAID, &text(&expected, "anna"));
    assert!(errors.errors() <= 2, "{expected:#?}");

    // Killed twice while it is being spoken.
    let parts = [0..20, 20..40, 40..all().end];
    for part in parts {
        let last = part.end == all().end;
        append(killed.path(), topics::AUDIO, part, false);
        let mut child = rechka(killed.path(), &["run", captions, "--listen", "127.0.0.1:0"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        let ended = || {
            transcripts(killed.path())
                .iter()
                .filter(|line| field(line, "kind") == "end")
                .count()
        };
        match last {
            false => thread::sleep(Duration::from_millis(1_500)),
            true => {
                while ended() < SPEAKERS.len() {
                    assert!(since.elapsed() < PATIENCE, "not all sessions are complete");
                    thread::sleep(Duration::from_millis(200));
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(transcripts(killed.path()), expected);

    // The same text over what is stored, in a log that has heard nothing yet; and the topic that was written.
    let fresh = tempfile::tempdir().unwrap();
    append(fresh.path(), topics::AUDIO, all(), false);
    let mut written: Vec<_> = expected.iter().map(|line| tidy(line)).collect();
    written.sort();
    assert_eq!(rows(fresh.path(), &[captions]), written);
    assert_eq!(rows(calm.path(), &["-e", "SELECT * FROM transcripts"]), written);
    let status = said_by(killed.path(), &["status"]);
    assert!(status.lines().any(|line| line.starts_with("transcripts ")), "{status}");
}

#[test]
fn words_are_counted_alike_as_they_come_and_at_once() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), topics::AUDIO, all(), false);
    let pipeline = pipeline("words.sql");
    said_by(folder.path(), &["run", "--once", pipeline.to_str().unwrap()]);
    let batch = said_by(
        folder.path(),
        &["sql", "--batch", "--format", "json", pipeline.to_str().unwrap()],
    );
    let mut relations = 0;
    for part in batch.split("-- ").skip(1) {
        let (name, at_once) = part.split_once('\n').unwrap();
        let query = format!("SELECT * FROM {name}");
        let kept = said_by(folder.path(), &["sql", "--batch", "--format", "json", "-e", &query]);
        let sorted = |text: &str| {
            let mut rows: Vec<_> = text.lines().map(str::to_owned).collect();
            rows.sort();
            rows
        };
        assert_eq!(sorted(&kept), sorted(at_once), "{name}");
        assert!(!kept.is_empty(), "{name} has rows");
        relations += 1;
    }
    assert_eq!(relations, 5);
    let words: usize = said_by(
        folder.path(),
        &["sql", "--format", "json", "-e", "SELECT sum(words) AS n FROM pace"],
    )
    .trim()
    .trim_start_matches("{\"n\":")
    .trim_end_matches('}')
    .parse()
    .unwrap();
    assert_eq!(words, said_by(folder.path(), &["consume", "words"]).lines().count());
}

#[test]
fn bare_samples_are_heard_as_they_are_declared() {
    let (described, bare) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    append(described.path(), topics::AUDIO, 0..24, false);
    append(bare.path(), "calls", 0..24, true);
    let file = bare.path().join("calls.sql");
    let text = "CREATE STREAM calls WITH (format = 's16le', rate = 16000);
        CREATE STREAM transcripts AS SELECT * FROM TRANSCRIBE(calls, model => 'digits');
        CREATE STREAM said AS SELECT session, text FROM TRANSCRIBE(calls, model => 'digits') WHERE kind = 'speech';";
    std::fs::write(&file, text).unwrap();
    said_by(bare.path(), &["run", "--once", file.to_str().unwrap()]);
    said_by(
        described.path(),
        &["run", "--once", pipeline("captions.sql").to_str().unwrap()],
    );
    let found = transcripts(bare.path());
    assert_eq!(found, transcripts(described.path()));
    assert!(text_of(&found).contains("seven"), "{found:#?}");
    let mut speech: Vec<_> = found
        .iter()
        .filter(|line| field(line, "kind") == "speech")
        .map(|line| field(line, "text"))
        .collect();
    let mut said: Vec<_> = said_by(bare.path(), &["consume", "said"])
        .lines()
        .map(|line| field(line, "text"))
        .collect();
    speech.sort();
    said.sort();
    assert_eq!(said, speech);
}

fn text_of(lines: &[String]) -> String {
    SPEAKERS.map(|(session, _)| text(lines, session)).join(" ")
}

#[test]
fn a_model_that_is_not_there_is_an_error_that_says_what_to_type() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), topics::AUDIO, 0..1, false);
    let file = folder.path().join("wrong.sql");
    let text = "CREATE STREAM audio WITH (topic = 'audio-stream', format = 'audio');
        CREATE STREAM transcripts AS SELECT * FROM TRANSCRIBE(audio, model => 'no/such/model');";
    std::fs::write(&file, text).unwrap();
    for arguments in [&["run", "--once"][..], &["sql", "--batch"]] {
        let output = rechka(folder.path(), &[arguments, &[file.to_str().unwrap()]].concat())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && error.contains("\"no/such/model\"") && error.contains("`digits`"),
            "{error}"
        );
    }
}
