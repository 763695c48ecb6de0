//! The protocol of `/v1/stream` over a real socket and a real log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use std::time::Duration;

use common::*;
use rechka_types::{Kind, topics};
use serde_json::json;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_goes_in_and_text_comes_out() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let _recogniser = ScriptedRecogniser::start(served.log.clone());
    let (mut client, session, next) = served.open(hello()).await;
    assert_eq!(next, 0);
    let audio = samples(0..40_000);
    for (number, block) in audio.chunks(1000).enumerate() {
        client.audio(number as u64 * 1000, block).await;
    }
    client.acknowledged(40_000).await;
    client.say(json!({"type": "end"})).await;
    for (number, word) in ["one", "two"].into_iter().enumerate() {
        let message = client.expect("final").await;
        assert_eq!((&message["segment"], &message["text"]), (&json!(number), &json!(word)));
        assert_eq!(message["words"][0]["word"], word);
    }
    assert_eq!(client.expect("end").await["seconds"], 2.0);
    assert!(matches!(client.hear().await, Heard::Closed(1000)));
    assert_eq!(stored(&*served.log, &session), (audio, true));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_inside_a_message_loses_nothing_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let audio = samples(0..30_000);
    let mut session = hello();
    let mut sent = 0_usize;
    for cut in 0..10 {
        let (mut client, name, next) = served.open(session.clone()).await;
        session["session"] = json!(name);
        assert!(next as usize <= sent, "the server has nothing that was never sent");
        // From a little before what is missing: clients need not be exact.
        let from = (next as usize).saturating_sub(123);
        let to = (from + 3000).min(audio.len());
        for (number, block) in audio[from..to].chunks(700).enumerate() {
            client.audio((from + number * 700) as u64, block).await;
        }
        sent = sent.max(to);
        if cut % 2 == 0 {
            client.acknowledged(to as u64).await;
        }
        // Half a frame of the WebSocket: a header that promises 200 bytes, and 50 of them.
        let mut raw = vec![0x82, 0x80 | 126, 0, 200];
        raw.extend([0; 54]);
        client.socket.get_mut().write_all(&raw).await.unwrap();
        drop(client);
    }
    let (mut client, name, next) = served.open(session).await;
    client.audio(next, &audio[next as usize..]).await;
    client.acknowledged(audio.len() as u64).await;
    assert_eq!(stored(&*served.log, &name).0, audio);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_overlaps_is_trimmed_to_the_frame_and_a_gap_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let (mut client, session, _) = served.open(hello_for("mine")).await;
    for frames in [0..100, 0..100, 50..150, 149..151, 20..30] {
        client.audio(frames.start, &samples(frames)).await;
    }
    client.acknowledged(151).await;
    client.audio(153, &samples(153..160)).await;
    let (refusal, code) = client.refused().await;
    assert_eq!((refusal["code"].as_str().unwrap(), code), ("gap", 4002));
    assert!(
        refusal["message"].as_str().unwrap().contains("go on at frame 151"),
        "{refusal}"
    );
    assert_eq!(stored(&*served.log, &session), (samples(0..151), false));
    let (_, _, next) = served.open(hello_for("mine")).await;
    assert_eq!(next, 151);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_takes_the_session_over() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let (mut old, _, _) = served.open(hello_for("mine")).await;
    old.audio(0, &samples(0..100)).await;
    old.acknowledged(100).await;
    let (mut new, _, next) = served.open(hello_for("mine")).await;
    assert_eq!(next, 100);
    let (refusal, code) = old.refused().await;
    assert_eq!((refusal["code"].as_str().unwrap(), code), ("taken_over", 4001));
    new.audio(100, &samples(100..200)).await;
    new.acknowledged(200).await;
    assert_eq!(stored(&*served.log, "mine").0, samples(0..200));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_where_they_were_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let mut clients = Vec::new();
    for number in 0..5_u64 {
        let name = format!("session-{number}");
        // More than a checkpoint's distance, so that there is a part before and a part after the last record.
        let (mut client, _, _) = served.open(hello_for(&name)).await;
        let frames = 16_000 * 31 + number * 77;
        for first in (0..frames).step_by(50_000) {
            client.audio(first, &samples(first..(first + 50_000).min(frames))).await;
        }
        client.acknowledged(frames).await;
        clients.push((client, name, frames));
    }
    let log = served.stop().await;
    for (client, _, _) in &mut clients {
        let (refusal, code) = client.refused().await;
        assert_eq!((refusal["code"].as_str().unwrap(), code), ("stopping", 1012));
    }
    drop(log);
    let served = Served::start(open_log(directory.path()), config()).await;
    for (_, name, frames) in clients {
        let (mut client, _, next) = served.open(hello_for(&name)).await;
        assert_eq!(next, frames);
        client.audio(next - 10, &samples(next - 10..next + 10)).await;
        client.acknowledged(next + 10).await;
        assert_eq!(stored(&*served.log, &name).0, samples(0..frames + 10));
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_gets_the_segments_it_has_missed() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let (client, _, _) = served.open(hello_for("mine")).await;
    drop(client);
    for number in 0..200 {
        write(
            &*served.log,
            topics::TRANSCRIPTS,
            "mine",
            &segment("mine", number, Kind::Speech, "word"),
        );
    }
    let mut hello = hello_for("mine");
    hello["after_segment"] = json!(41);
    let (mut client, _, _) = served.open(hello).await;
    for number in 42..200 {
        assert_eq!(client.expect("final").await["segment"], number);
    }
    write(
        &*served.log,
        topics::TRANSCRIPTS,
        "mine",
        &segment("mine", 200, Kind::Silence, ""),
    );
    assert_eq!(client.expect("final").await["segment"], 200);
    let (mut another, _, _) = served.open(hello_for("mine")).await;
    assert_eq!(another.expect("final").await["segment"], 0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_client_does_not_come_back_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let short = config_with(|limits| limits.resume = Duration::from_millis(100));
    let served = Served::start(open_log(directory.path()), short.clone()).await;
    let (mut client, _, _) = served.open(hello_for("gone")).await;
    client.audio(0, &samples(0..500)).await;
    client.acknowledged(500).await;
    drop(client);
    wait_until(|| stored(&*served.log, "gone").1).await;
    // A session that was open when the gateway stopped is completed by the next one.
    let (mut client, _, _) = served.open(hello_for("stays")).await;
    client.audio(0, &samples(0..70)).await;
    client.acknowledged(70).await;
    let log = served.stop().await;
    assert_eq!(stored(&*log, "stays"), (samples(0..70), false));
    let served = Served::start(log, short).await;
    wait_until(|| stored(&*served.log, "stays").1).await;
    let (mut client, _, _) = served.open(hello_for("stays")).await;
    client.audio(70, &samples(70..80)).await;
    assert_eq!(client.refused().await.0["code"], "session_ended");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_at_another_gateway_and_a_session_of_one_that_is_gone_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let log = open_log(directory.path());
    let config = config_with(|limits| limits.resume = Duration::from_secs(5));
    let first = Served::start(log.clone(), config.clone()).await;
    let second = Served::start(log.clone(), config).await;
    let (mut client, _, _) = first.open(hello_for("mine")).await;
    client.audio(0, &samples(0..500)).await;
    client.acknowledged(500).await;
    while second.get("/v1/sessions/mine").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut again, _, next) = second.open(hello_for("mine")).await;
    assert_eq!(next, 500);
    assert_eq!(client.refused().await.0["code"], "taken_over");
    again.audio(500, &samples(500..700)).await;
    again.acknowledged(700).await;
    assert_eq!(stored(&*log, "mine"), (samples(0..700), false));
    second.stop().await;
    wait_until(|| stored(&*log, "mine").1).await;
    assert_eq!(stored(&*log, "mine").0, samples(0..700));
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_session_never_begins_again_however_old_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(
        open_log(directory.path()),
        config_with(|limits| limits.listed_sessions = 1),
    )
    .await;
    let (mut client, _, _) = served.open(hello_for("a")).await;
    client.audio(0, &samples(0..10)).await;
    client.say(json!({"type": "end"})).await;
    wait_until(|| stored(&*served.log, "a").1).await;
    drop(client);
    // The list leaves the oldest out when another begins and nobody listens to it any more.
    for number in 0.. {
        served.open(hello_for(&format!("later-{number}"))).await;
        if !served.get_json("/v1/sessions").await.to_string().contains(r#""a""#) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = served.connect(hello_for("a")).await.hear().await;
    let refused = matches!(&answer, Heard::Message(message) if message["code"] == "session_ended");
    assert!(refused, "{answer:?}");
    assert_eq!(stored(&*served.log, "a").0, samples(0..10));
    assert_eq!(served.open(hello_for("new")).await.2, 0);
    served.stop().await;
}

async fn wait_until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("the condition comes true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_says_why_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let limits = config_with(|limits| {
        limits.sessions = 2;
        limits.message_bytes = 1000;
        limits.live_burst = Duration::from_secs(1);
    });
    let served = Served::start(open_log(directory.path()), limits).await;
    let refused = async |hello: serde_json::Value| served.connect(hello).await.refused().await;
    let code = |refusal: &(serde_json::Value, u16)| (refusal.0["code"].as_str().unwrap().to_owned(), refusal.1);
    let malformed = refused(json!({"rate": 16000})).await;
    assert_eq!(code(&malformed), ("malformed_hello".into(), 1007));
    let unknown = refused(json!({"encoding": "opus", "rate": 48000, "channels": 1})).await;
    assert_eq!(code(&unknown), ("unsupported_format".into(), 1003));
    assert!(
        unknown.0["message"].as_str().unwrap().contains("pcm_s16le"),
        "{unknown:?}"
    );
    let name = refused(hello_for("a/../b")).await;
    assert_eq!(code(&name), ("invalid_session".into(), 1007));

    let (mut first, _, _) = served.open(hello_for("one")).await;
    let differs = refused(json!({"encoding": "alaw", "rate": 8000, "channels": 1, "session": "one"})).await;
    assert_eq!(code(&differs), ("format_differs".into(), 1003));
    let (mut second, _, _) = served.open(hello_for("two")).await;
    let full = refused(hello_for("three")).await;
    assert_eq!(code(&full), ("too_many_sessions".into(), 1013));
    assert!(full.0["retry_after"].as_u64().unwrap() > 0, "{full:?}");

    first.bytes(vec![0; 1001]).await;
    assert_eq!(code(&first.refused().await), ("message_too_large".into(), 1009));
    let (mut first, _, _) = served.open(hello_for("one")).await;
    first.bytes(vec![0; 11]).await;
    assert_eq!(code(&first.refused().await), ("malformed_message".into(), 1007));
    let (mut first, _, _) = served.open(hello_for("one")).await;
    first.say(json!({"type": "dance"})).await;
    assert_eq!(code(&first.refused().await), ("malformed_message".into(), 1007));
    let (mut first, _, next) = served.open(hello_for("one")).await;
    assert_eq!(next, 0, "nothing that was refused was stored");
    drop(first.socket.close(None).await);

    for number in 0..100 {
        // Ten seconds of sound at once are not live.
        let message = audio_message(number * 400, &samples(number * 400..(number + 1) * 400));
        if futures_util::SinkExt::send(&mut second.socket, message.into())
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(code(&second.refused().await), ("rate_exceeded".into(), 1008));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_has_no_more_audio_than_a_recogniser_takes() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let slow = json!({"encoding": "mulaw", "rate": 1000, "channels": 1, "pace": "file"});
    let mut client = served.connect(slow).await;
    assert_eq!(client.expect("ready").await["message_bytes"], 8 + 60_000);
    client.bytes(vec![0; 8 + 60_000]).await;
    client.acknowledged(60_000).await;
    let mut longer = 60_000_u64.to_le_bytes().to_vec();
    longer.resize(8 + 60_001, 0);
    client.bytes(longer).await;
    let (refusal, code) = client.refused().await;
    assert_eq!((refusal["code"].as_str().unwrap(), code), ("message_too_large", 1009));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_may_come_as_fast_as_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let limits = config_with(|limits| {
        limits.live_burst = Duration::from_secs(1);
        limits.window_bytes = 64 * 1024;
    });
    let served = Served::start(open_log(directory.path()), limits).await;
    let mut hello = hello_for("file");
    hello["pace"] = json!("file");
    let (mut client, _, _) = served.open(hello).await;
    let frames = 16_000 * 60;
    for first in (0..frames).step_by(8000) {
        client.audio(first, &samples(first..first + 8000)).await;
    }
    client.acknowledged(frames).await;
    assert_eq!(stored(&*served.log, "file").0, samples(0..frames));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_are_told_to_come_back_later() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config_with(|limits| limits.connections = 2)).await;
    let (first, _, _) = served.open(hello()).await;
    let (_second, _, _) = served.open(hello()).await;
    let (status, headers, _) = served.get("/healthz").await;
    assert_eq!((status, headers["retry-after"].as_str()), (429, "10"));
    drop(first);
    tokio::time::timeout(PATIENCE, async { while served.get("/healthz").await.0 != 200 {} })
        .await
        .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_any_sign_of_life_is_sent_away_and_may_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(
        open_log(directory.path()),
        config_with(|limits| limits.idle = Duration::from_millis(150)),
    )
    .await;
    let (mut client, _, _) = served.open(hello_for("mine")).await;
    client.audio(0, &samples(0..10)).await;
    client.acknowledged(10).await;
    // A client that does not read does not answer pings either.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(client.refused().await.0["code"], "idle");
    assert_eq!(served.open(hello_for("mine")).await.2, 10);
    served.stop().await;
}

/// Random bytes as hello, as audio, as text, and below the protocol: the gateway refuses, and goes on serving others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_are_refused_and_harm_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let (mut honest, _, _) = served.open(hello_for("honest")).await;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut byte = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    };
    for round in 0..60_u64 {
        let noise: Vec<u8> = (0..1 + (round * 7) % 300).map(|_| byte()).collect();
        match round % 4 {
            0 => {
                let mut client = served.socket().await;
                client.bytes(noise).await;
                assert_eq!(client.refused().await.0["code"], "malformed_hello");
            }
            1 => {
                let mut client = served.socket().await;
                let text = String::from_utf8_lossy(&noise).into_owned();
                drop(futures_util::SinkExt::send(&mut client.socket, text.into()).await);
                assert_eq!(client.refused().await.0["code"], "malformed_hello");
            }
            2 => {
                let (mut client, _, _) = served.open(hello()).await;
                client.bytes(noise).await;
                let (refusal, _) = client.refused().await;
                assert!(
                    ["malformed_message", "gap"].contains(&refusal["code"].as_str().unwrap()),
                    "{refusal}"
                );
            }
            _ => {
                let (mut client, _, _) = served.open(hello()).await;
                drop(client.socket.get_mut().write_all(&noise).await);
            }
        }
        honest.audio(round * 10, &samples(round * 10..round * 10 + 10)).await;
    }
    honest.acknowledged(600).await;
    assert_eq!(stored(&*served.log, "honest").0, samples(0..600));
    served.stop().await;
}
