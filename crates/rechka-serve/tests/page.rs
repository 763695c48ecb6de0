//! The page in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod browser;
mod common;

use std::path::{Path, PathBuf};

use browser::{Browser, Options};
use common::*;
use serde_json::json;
use tokio::net::TcpListener;

/// A WAV file of a tone that comes and goes twice a second.
fn wav(path: &Path, seconds: u32) -> PathBuf {
    let rate = 48_000_u32;
    let sample = |n: u32| {
        let on = (n / (rate / 4)).is_multiple_of(2);
        let tone = (f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin();
        if on { (tone * 12_000.0) as i16 } else { 0 }
    };
    let data: Vec<u8> = (0..rate * seconds).flat_map(|n| sample(n).to_le_bytes()).collect();
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(rate.to_le_bytes());
    file.extend((2 * rate).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    let path = path.join("speech.wav");
    std::fs::write(&path, file).unwrap();
    path
}

/// Pictures are kept where `RECHKA_TEST_PICTURES` says.
fn picture(browser: &Browser, name: &str) {
    if let Some(directory) = std::env::var_os("RECHKA_TEST_PICTURES") {
        browser.screenshot(&Path::new(&directory).join(format!("{name}.png")));
    }
}

/// Chromium asks for a connection that is refused in its own words; everything else in its log is our fault.
fn no_complaints(browser: &Browser) {
    let complaints: Vec<String> = browser
        .log()
        .into_iter()
        .filter(|line| !line.contains("ERR_CONNECTION_REFUSED"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Frames of a session so far, and whether there is sound in them.
fn heard(served: &Served, session: &str) -> (usize, bool) {
    let (audio, _) = stored(&*served.log, session);
    (audio.len(), audio.iter().any(|sample| sample.unsigned_abs() > 1000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_appear_while_one_speaks_and_stay_with_their_sound() {
    let directory = tempfile::tempdir().unwrap();
    let sound = wav(directory.path(), 20);
    let Some(browser) = Browser::start(&Options {
        microphone: Some(&sound),
        ..Options::default()
    }) else {
        return;
    };
    let served = Served::start(open_log(&directory.path().join("log")), config()).await;
    let _recogniser = ScriptedRecogniser::start(served.log.clone());
    tokio::task::block_in_place(|| {
        browser.open(&format!("http://{}/", served.address));
        browser.wait_for("document.getElementById('connection').dataset.state === 'ready'");
        browser.wait_for("document.getElementById('no-sessions').hidden === false");
        picture(&browser, "welcome");

        browser.click("#microphone");
        browser.wait_for("document.querySelector('.partial')?.textContent.includes('…')");
        browser.wait_for("document.querySelectorAll('#captions .segment').length >= 3");
        picture(&browser, "live");
        let session = browser.run("return document.body.dataset.session");
        let session = session.as_str().unwrap();
        let (frames, has_sound) = heard(&served, session);
        assert!(frames > 48_000 && has_sound, "{frames} frames, with sound: {has_sound}");

        browser.click("#microphone");
        browser.wait_for("document.getElementById('doing').textContent === 'Finished and stored'");
        assert!(stored(&*served.log, session).1, "the session is complete");

        browser.wait_for("document.querySelector('#sessions a .preview')?.textContent.startsWith('one two three')");
        browser.click("#sessions a");
        browser.wait_for("document.querySelectorAll('#past .word').length >= 3");
        browser.wait_for("document.querySelector('#past audio').duration > 2");
        browser.click("#past .segment:nth-of-type(2) .word");
        browser.wait_for("Math.abs(document.querySelector('#past audio').currentTime - 1.1) < 0.9");
        browser.wait_for("document.querySelector('#past .word.spoken')");
        picture(&browser, "past");
        let downloads =
            browser.run("return [...document.querySelectorAll('.downloads a')].map(a => a.getAttribute('href'))");
        assert_eq!(downloads[0], format!("/v1/sessions/{session}.srt"));
        no_complaints(&browser);
    });
    drop(browser);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_and_comes_back_costs_no_sample() {
    let directory = tempfile::tempdir().unwrap();
    let sound = wav(directory.path(), 20);
    let Some(browser) = Browser::start(&Options {
        microphone: Some(&sound),
        ..Options::default()
    }) else {
        return;
    };
    let served = Served::start(open_log(&directory.path().join("log")), config()).await;
    let address = served.address;
    let session = tokio::task::block_in_place(|| {
        browser.open(&format!("http://{address}/"));
        browser.click("#microphone");
        browser.wait_for("document.getElementById('stored').textContent === 'all stored'");
        browser.run("return document.body.dataset.session")
    });
    let session = session.as_str().unwrap();
    let log = served.stop().await;
    let before = stored(&*log, session).0.len();
    tokio::task::block_in_place(|| {
        browser.wait_for("document.getElementById('stored').dataset.behind === 'true'");
        browser.wait_for("document.getElementById('connection').dataset.state === 'away'");
        assert!(browser.text("#notice").contains("Go on speaking"));
        picture(&browser, "away");
    });
    let listener = TcpListener::bind(address).await.unwrap();
    let served = Served::start_on(listener, log, config()).await;
    tokio::task::block_in_place(|| {
        browser.wait_for("document.getElementById('stored').textContent === 'all stored'");
        browser.wait_for("document.getElementById('notice').hidden");
        let again = browser.run("return document.body.dataset.session");
        assert_eq!(again, session, "it is the same session");
        // `stored` sees that nothing is missing or doubled.
        assert!(stored(&*served.log, session).0.len() > before + 24_000);
        no_complaints(&browser);
    });
    drop(browser);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_sent_whole_and_transcribed() {
    let directory = tempfile::tempdir().unwrap();
    let sound = wav(directory.path(), 12);
    let Some(browser) = Browser::start(&Options {
        dark: true,
        ..Options::default()
    }) else {
        return;
    };
    let served = Served::start(open_log(&directory.path().join("log")), config()).await;
    let _recogniser = ScriptedRecogniser::start(served.log.clone());
    tokio::task::block_in_place(|| {
        browser.open(&format!("http://{}/", served.address));
        browser.type_into("#file", sound.to_str().unwrap());
        browser.wait_for("document.getElementById('doing').textContent === 'Finished and stored'");
        assert!(browser.text("#captions").contains("nine ten one two"));
        picture(&browser, "recording-dark");
        browser.wait_for("document.querySelector('#sessions .head b')?.textContent === 'speech.wav'");
        no_complaints(&browser);
    });
    drop(browser);
    let list = served.get_json("/v1/sessions").await;
    assert_eq!(
        (&list["sessions"][0]["seconds"], &list["sessions"][0]["state"]),
        (&json!(12.0), &json!("complete"))
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_can_mend_is_said_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let Some(browser) = Browser::start(&Options {
        microphone_refused: true,
        window: Some((390, 780)),
        ..Options::default()
    }) else {
        return;
    };
    let served = Served::start(open_log(&directory.path().join("log")), config()).await;
    let text = directory.path().join("letter.wav");
    std::fs::write(&text, "not a sound").unwrap();
    tokio::task::block_in_place(|| {
        browser.open(&format!("http://{}/", served.address));
        browser.click("#microphone");
        browser.wait_for("!document.getElementById('notice').hidden");
        assert!(
            browser.text("#notice").contains("blocked for this page"),
            "{}",
            browser.text("#notice")
        );
        picture(&browser, "narrow-blocked");
        browser.type_into("#file", text.to_str().unwrap());
        browser.wait_for("document.getElementById('notice').textContent.includes('letter.wav')");
        browser.open(&format!("http://{}/#/sessions/nobody", served.address));
        browser.wait_for("document.querySelector('#past .title')?.textContent === 'Not found'");
    });
    drop(browser);
    served.stop().await;
}
