//! What the gateway serves over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use rechka_serve::{Gateway, Probe};
use rechka_types::{Kind, Partial, topics};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A complete session of 2.5 s with two words.
async fn complete_session(served: &Served, name: &str, title: &str) {
    let mut hello = hello_for(name);
    hello["name"] = json!(title);
    let (mut client, _, _) = served.open(hello).await;
    for first in (0..40_000).step_by(8000) {
        client.audio(first, &samples(first..first + 8000)).await;
    }
    client.say(json!({"type": "end"})).await;
    client.expect("end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_sessions_are_listed_newest_first_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let recogniser = ScriptedRecogniser::start(served.log.clone());
    for name in ["a", "b", "c"] {
        complete_session(&served, name, &format!("{name}.wav")).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Nothing is heard of a session without sound.
    served.open(hello_for("silent")).await;
    let page = served.get_json("/v1/sessions?limit=2").await;
    let names = |page: &serde_json::Value| -> Vec<String> {
        page["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["session"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["c", "b"]);
    let newest = &page["sessions"][0];
    assert_eq!(newest["preview"], "one two");
    assert_eq!(newest["name"], "c.wav");
    assert_eq!(
        (&newest["seconds"], &newest["state"]),
        (&json!(2.5), &json!("complete"))
    );
    let next = page["next"].as_str().unwrap().to_owned();
    let rest = served.get_json(&format!("/v1/sessions?limit=2&before={next}")).await;
    assert_eq!(names(&rest), ["a"]);
    assert_eq!(served.get("/v1/sessions?before=x").await.0, 400);

    // The same after a restart: all of it is in the log.
    drop(recogniser);
    let log = served.stop().await;
    let served = Served::start(log, config()).await;
    tokio::time::timeout(PATIENCE, async { while served.get("/readyz").await.0 != 200 {} })
        .await
        .unwrap();
    let again = served.get_json("/v1/sessions?limit=2").await;
    assert_eq!(again["sessions"], page["sessions"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_read_as_segments_and_as_files() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let recogniser = ScriptedRecogniser::start(served.log.clone());
    complete_session(&served, "mine", "Über\"alles.m4a").await;
    drop(recogniser);
    let session = served.get_json("/v1/sessions/mine").await;
    assert_eq!(session["transcripts"][1]["text"], "two");
    assert_eq!(session["transcripts"][1]["words"][0]["start"], 1.1);
    assert_eq!(session["transcripts"].as_array().unwrap().len(), 2);

    // A later recognition of a segment replaces it.
    let mut better = segment("mine", 1, Kind::Speech, "two & <more>");
    better.revision = 1;
    write(&*served.log, topics::TRANSCRIPTS, "mine", &better);
    let path = "/v1/sessions/mine.txt";
    tokio::time::timeout(PATIENCE, async {
        while served.get(path).await.2 != b"one\ntwo & <more>\n" {}
    })
    .await
    .unwrap();

    let file = async |suffix: &str| {
        let (status, headers, body) = served.get(&format!("/v1/sessions/mine.{suffix}")).await;
        assert_eq!(status, 200);
        assert!(
            headers["content-disposition"].ends_with(&format!("filename=\"_ber_alles.{suffix}\"")),
            "{headers:?}"
        );
        String::from_utf8(body).unwrap()
    };
    assert!(file("srt").await.starts_with("1\n00:00:00,"));
    let vtt = file("vtt").await;
    assert!(
        vtt.starts_with("WEBVTT\n\n00:00:00.") && vtt.contains("two &amp; &lt;more&gt;"),
        "{vtt}"
    );
    assert!(file("json").await.contains("\"two & <more>\""));
    let (status, _, body) = served.get("/v1/sessions/nobody.srt").await;
    assert_eq!(status, 404);
    assert!(String::from_utf8(body).unwrap().contains("/v1/sessions lists them"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sound_of_a_session_can_be_read_from_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    // Two sessions of the same partition, interleaved.
    let (mut other, _, _) = served.open(hello_for("other")).await;
    let (mut client, _, _) = served.open(hello_for("mine")).await;
    let audio = samples(0..16_000 * 40);
    for (number, block) in audio.chunks(16_000).enumerate() {
        let first = number as u64 * 16_000;
        client.audio(first, block).await;
        other.audio(first / 2, &samples(first / 2..first / 2 + 8000)).await;
    }
    client.acknowledged(audio.len() as u64).await;
    let data: Vec<u8> = audio.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let (status, headers, whole) = served.get("/v1/sessions/mine/audio").await;
    assert_eq!((status, headers["content-type"].as_str()), (200, "audio/wav"));
    assert_eq!(headers["content-length"], whole.len().to_string());
    assert_eq!(&whole[..4], b"RIFF");
    assert!(whole[44..] == data, "the samples are as they were sent");
    for range in [
        0..10,
        40..50,
        44..46,
        700_000..700_001,
        1_000_001..1_280_044,
        0..1_280_044,
    ] {
        let asked = format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
        let (status, headers, part) = served.get_with("/v1/sessions/mine/audio", &asked).await;
        assert_eq!(status, 206);
        let expected = format!("bytes {}-{}/1280044", range.start, range.end - 1);
        assert_eq!(headers["content-range"], expected);
        assert!(part == whole[range.clone()], "{range:?}");
    }
    let (status, headers, _) = served
        .get_with("/v1/sessions/mine/audio", "Range: bytes=1280044-\r\n")
        .await;
    assert_eq!((status, headers["content-range"].as_str()), (416, "bytes */1280044"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_hear_partials_and_finals_and_go_on_where_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let (_client, _, _) = served.open(hello_for("mine")).await;
    let listen = async |seen: &str| {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        let request =
            format!("GET /v1/sessions/mine/events HTTP/1.1\r\nHost: localhost\r\n{seen}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    };
    let until = async |socket: &mut TcpStream, text: &str| {
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        while !heard.contains(text) {
            let read = tokio::time::timeout(PATIENCE, socket.read(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            assert!(read > 0, "{heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        heard
    };
    let mut socket = listen("").await;
    until(&mut socket, "text/event-stream").await;
    write(
        &*served.log,
        topics::TRANSCRIPTS,
        "mine",
        &segment("mine", 0, Kind::Speech, "one"),
    );
    until(&mut socket, "event: final").await;
    let partial = Partial {
        session: "mine".into(),
        segment: 1,
        start: 1.0,
        end: 1.5,
        committed: "two".into(),
        tentative: "thr".into(),
    };
    write(&*served.log, topics::PARTIALS, "mine", &partial);
    until(&mut socket, "event: partial").await;
    drop(socket);
    write(
        &*served.log,
        topics::TRANSCRIPTS,
        "mine",
        &segment("mine", 1, Kind::Speech, "two three"),
    );
    write(
        &*served.log,
        topics::TRANSCRIPTS,
        "mine",
        &segment("mine", 2, Kind::End, ""),
    );
    let mut socket = listen("Last-Event-ID: 0\r\n").await;
    let heard = until(&mut socket, "event: end").await;
    assert!(
        heard.contains("two three") && !heard.contains("\"text\":\"one\""),
        "{heard}"
    );
    assert_eq!(served.get("/v1/sessions/nobody/events").await.0, 404);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_readiness_and_metrics_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    assert_eq!(served.get("/healthz").await.0, 200);
    tokio::time::timeout(PATIENCE, async { while served.get("/readyz").await.0 != 200 {} })
        .await
        .unwrap();
    let (mut client, _, _) = served.open(hello()).await;
    client.audio(0, &samples(0..100)).await;
    client.acknowledged(100).await;
    let (_, headers, body) = served.get("/metrics").await;
    let text = String::from_utf8(body).unwrap();
    assert!(headers["content-type"].starts_with("text/plain; version=0.0.4"));
    for line in [
        "rechka_sessions_open 1",
        "rechka_streams 1",
        "rechka_audio_bytes_total 200",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.contains("rechka_acknowledgement_seconds_count 1\n"), "{text}");
    served.stop().await;
}

struct Neighbour;

impl Probe for Neighbour {
    fn name(&self) -> &str {
        "recogniser"
    }

    fn ready(&self) -> Result<(), String> {
        Err("its model is still being loaded".into())
    }

    fn metrics(&self, text: &mut String) {
        text.push_str("recogniser_sessions 7\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_is_not_ready_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let log = open_log(directory.path());
    let gateway = Gateway::with_probes(log.clone(), config(), vec![Arc::new(Neighbour)]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = Served::serve(gateway, listener, log);
    let (status, _, body) = served.get("/readyz").await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert_eq!(body["checks"]["recogniser"], "its model is still being loaded");
    assert_eq!(body["checks"]["log"], "ok");
    let (_, _, metrics) = served.get("/metrics").await;
    assert!(String::from_utf8(metrics).unwrap().ends_with("recogniser_sessions 7\n"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_can_neither_read_nor_speak_here() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let page = served.get("/").await;
    assert_eq!(page.0, 200);
    assert!(page.1["content-security-policy"].starts_with("default-src 'none'"));
    assert_eq!(page.1["x-content-type-options"], "nosniff");
    for path in ["/", "/v1/sessions", "/v1/stream", "/metrics"] {
        assert_eq!(served.get_with(path, "Host: evil.example\r\n").await.0, 421, "{path}");
        assert_eq!(
            served.get_with(path, "Origin: http://evil.example\r\n").await.0,
            403,
            "{path}"
        );
    }
    assert_eq!(served.get("/nothing/here").await.0, 404);
    served.stop().await;
}

/// The page has no part that comes from elsewhere, and all parts it names are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_of_the_page_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(open_log(directory.path()), config()).await;
    let mut wanted = vec!["/".to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = wanted.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let (status, _, body) = served.get(&path).await;
        assert_eq!(status, 200, "{path}");
        let text = String::from_utf8(body).unwrap();
        assert!(!text.contains("https://"), "{path} names another place");
        for quoted in text.split(['"', '\'']) {
            let local = quoted
                .strip_prefix("./")
                .map(|rest| format!("/{rest}"))
                .unwrap_or(quoted.to_owned());
            let is_file = [".js", ".css", ".svg"].iter().any(|suffix| local.ends_with(suffix));
            if is_file && local.starts_with('/') {
                wanted.push(local);
            }
        }
    }
    assert!(seen.len() >= 9, "{seen:?}");
    served.stop().await;
}

/// It asks for more than the sockets hold, and reads nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_does_not_keep_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let config = config_with(|limits| {
        limits.connections = 1;
        limits.idle = Duration::from_millis(300);
    });
    let served = Served::start(open_log(directory.path()), config).await;
    let mut deaf = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET /app.js HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    let asking = tokio::spawn(async move {
        // Fails when it is cut off; until then it waits for the server to read on.
        while deaf.write_all(request.as_bytes()).await.is_ok() {}
        drop(deaf);
    });
    tokio::time::timeout(PATIENCE, async {
        while served.get("/healthz").await.0 != 429 {}
        while served.get("/healthz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("its place is free again");
    asking.await.unwrap();
    served.stop().await;
}
