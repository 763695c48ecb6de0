//! `kill -9` of `rechka serve` while eight people speak: nothing is lost, nothing is repeated, not a byte differs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, path::Path, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use support::{Server, Speaker, story};

const SESSIONS: usize = 8;

/// Transcripts as they stand in the log, by session.
type Transcripts = BTreeMap<String, Vec<String>>;

/// Kills per run: `RECHKA_KILLS=50` for the long form.
fn kills() -> usize {
    std::env::var("RECHKA_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8)
}

/// Each speaker tells the story from another word on, at another loudness.
fn samples(speaker: usize, seconds: f64) -> Vec<i16> {
    let story = story();
    let gain = 1.0 - 0.08 * speaker as f32;
    let whole = story
        .iter()
        .cycle()
        .skip(speaker * 4 * 16_000)
        .take((seconds * 16_000.0) as usize);
    whole
        .map(|sample| (sample * gain * f32::from(i16::MAX)) as i16)
        .collect()
}

/// Eight sessions at real speed while the server is killed `kills` times; the transcripts in the log, and what clients heard.
fn run(folder: &Path, kills: usize, seconds: f64) -> (Transcripts, Vec<Vec<Value>>) {
    let mut server = Server::start(folder);
    let speakers: Vec<_> = (0..SESSIONS)
        .map(|number| Speaker {
            address: server.address.clone(),
            session: format!("speaker-{number}"),
            samples: samples(number, seconds),
            speed: 1.0,
        })
        .map(|speaker| std::thread::spawn(move || speaker.speak()))
        .collect();
    let mut moments = StdRng::seed_from_u64(7);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(moments.random_range(50..2_000)));
        server.kill_and_restart();
    }
    let heard = speakers
        .into_iter()
        .map(|speaker| speaker.join().expect("the speaker ends"))
        .collect();
    let mut transcripts = Transcripts::new();
    for line in server.consume("transcripts") {
        let transcript: Value = serde_json::from_str(&line).expect("transcripts are JSON");
        transcripts
            .entry(transcript["session"].as_str().unwrap().to_owned())
            .or_default()
            .push(line);
    }
    (transcripts, heard)
}

#[test]
fn transcripts_of_a_server_killed_at_random_moments_are_byte_identical() {
    let kills = kills();
    let seconds = 1.5 * kills as f64 + 8.0;
    let (calm, disturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, _) = run(calm.path(), 0, seconds);
    let (found, heard) = run(disturbed.path(), kills, seconds);

    assert_eq!(expected.len(), SESSIONS);
    for (session, lines) in &expected {
        assert_eq!(found.get(session), Some(lines), "{session}");
        let mut covered = 0.0;
        let mut words = 0;
        for line in lines {
            let transcript: Value = serde_json::from_str(line).unwrap();
            if transcript["kind"] == "end" {
                continue;
            }
            assert_eq!(transcript["start"].as_f64(), Some(covered), "a gap before {line}");
            covered = transcript["end"].as_f64().unwrap();
            words += transcript["text"].as_str().unwrap_or("").split_whitespace().count();
        }
        assert!(
            (covered - seconds).abs() < 1e-3,
            "{session}: {covered} of {seconds} seconds are accounted for"
        );
        assert!(words > 3, "{session} was heard: {words} words");
    }
    for (number, finals) in heard.iter().enumerate() {
        let in_log = &expected[&format!("speaker-{number}")];
        let told: Vec<u64> = finals.iter().filter_map(|event| event["segment"].as_u64()).collect();
        let wanted: Vec<u64> = in_log
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|transcript| transcript["kind"] != "end")
            .filter_map(|transcript| transcript["segment"].as_u64())
            .collect();
        assert_eq!(told, wanted, "speaker-{number} was told every final once, in order");
    }
}
