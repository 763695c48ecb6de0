//! The whole way: a real browser's microphone, the real binary, the bundled model, captions on the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../crates/rechka-serve/tests/browser/mod.rs"]
mod browser;
#[allow(dead_code, unused_imports, reason = "not every test speaks for itself")]
mod support;

use std::path::{Path, PathBuf};

use browser::{Browser, Options};
use rechka_speech::{audio::encode_wav, text::WordErrors};
use support::{Server, story};

/// What the story's first phrases say.
const PHRASES: [&str; 3] = ["seven three oh five", "one two three four five", "nine eight seven six"];

fn microphone(folder: &Path) -> PathBuf {
    let path = folder.join("story.wav");
    std::fs::write(&path, encode_wav(&story(), 16_000)).unwrap();
    path
}

#[test]
fn what_is_said_into_the_microphone_is_read_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let sound = microphone(folder.path());
    let Some(browser) = Browser::start(&Options {
        microphone: Some(&sound),
        ..Options::default()
    }) else {
        return;
    };
    let server = Server::start(&folder.path().join("log"));
    browser.open(&format!("http://{}/", server.address));
    browser.click("#microphone");
    browser.wait_for("document.querySelector('.partial')");
    browser.wait_for(&format!(
        "document.querySelectorAll('#captions .segment').length >= {}",
        PHRASES.len()
    ));
    if let Some(pictures) = std::env::var_os("RECHKA_TEST_PICTURES") {
        browser.screenshot(&Path::new(&pictures).join("captions.png"));
    }
    let captions =
        browser.run("return [...document.querySelectorAll('#captions .segment')].map(s => s.innerText).join(' ')");
    let captions: String = captions
        .as_str()
        .unwrap()
        .split_whitespace()
        .filter(|word| !word.contains(':'))
        .collect::<Vec<_>>()
        .join(" ");
    let heard: Vec<&str> = captions.split(' ').collect();
    let said = PHRASES.join(" ");
    let words = said.split(' ').count();
    let errors = WordErrors::compare(&said, &heard[..heard.len().min(words)].join(" "));
    assert!(errors.errors() <= 2, "said {said:?}, read {captions:?}");
}
