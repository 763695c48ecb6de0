//! The download path against a local server that speaks the hub's API.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use rechka_speech::whisper::{Hub, HubError, Token};
use server::Server;

const SECRET: &str = "hf_secret";
const MODEL: &str = "someone/whisper-test";

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub {
        endpoint: server.address(),
        token: None,
        cache: cache.to_owned(),
        offline: false,
    }
}

fn resolve(hub: &Hub, name: &str) -> Result<PathBuf, HubError> {
    hub.resolve(name, &[], &mut |_| ())
}

#[test]
fn a_model_is_downloaded_once_and_then_found_without_the_network() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start();
    let mut hub = hub(&server, cache.path());
    let mut reports = Vec::new();
    let folder = hub
        .resolve(MODEL, &[], &mut |progress| {
            reports.push((progress.received, progress.total))
        })
        .unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), server::weights());
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{\"a\": 1}");
    assert!(
        !folder.join("README.md").exists(),
        "only what a checkpoint needs is fetched"
    );
    let total = reports[0].1;
    assert_eq!(*reports.last().unwrap(), (total, total));
    assert!(reports.is_sorted(), "progress only grows");
    hub.offline = true;
    assert_eq!(resolve(&hub, MODEL).unwrap(), folder);
}

#[test]
fn the_cache_is_laid_out_as_pythons_huggingface_hub_does() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start();
    resolve(&hub(&server, cache.path()), MODEL).unwrap();
    let repository = cache.path().join("models--someone--whisper-test");
    assert_eq!(
        fs::read_to_string(repository.join("refs/main")).unwrap(),
        server::COMMIT
    );
    assert!(repository.join("blobs").join(server::weights_etag()).is_file());
    let link = repository
        .join("snapshots")
        .join(server::COMMIT)
        .join("model.safetensors");
    assert_eq!(
        fs::read_link(link).unwrap(),
        Path::new("../../blobs").join(server::weights_etag())
    );
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start().breaking_bodies_after(100_000);
    let folder = resolve(&hub(&server, cache.path()), MODEL).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), server::weights());
    let ranges: Vec<String> = server
        .requests()
        .iter()
        .filter_map(|request| request.range.clone())
        .collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=200000-"]);
}

#[test]
fn a_download_that_was_killed_continues_in_the_next_process() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--someone--whisper-test/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", server::weights_etag()));
    fs::write(&partial, &server::weights()[..70_000]).unwrap();
    let server = Server::start();
    let folder = resolve(&hub(&server, cache.path()), MODEL).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), server::weights());
    assert!(
        server
            .requests()
            .iter()
            .any(|request| request.range.as_deref() == Some("bytes=70000-"))
    );
    assert!(!partial.exists());
}

#[test]
fn a_server_without_ranges_begins_again() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--someone--whisper-test/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(
        blobs.join(format!("{}.incomplete", server::weights_etag())),
        [9; 70_000],
    )
    .unwrap();
    let server = Server::start().without_ranges();
    let folder = resolve(&hub(&server, cache.path()), MODEL).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), server::weights());
}

#[test]
fn bytes_that_do_not_match_their_checksum_are_thrown_away() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--someone--whisper-test/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(
        blobs.join(format!("{}.incomplete", server::weights_etag())),
        [9; 70_000],
    )
    .unwrap();
    let server = Server::start();
    let hub = hub(&server, cache.path());
    assert!(resolve(&hub, MODEL).unwrap_err().to_string().contains("checksum"));
    assert!(resolve(&hub, MODEL).is_ok(), "the next attempt begins afresh");
}

#[test]
fn large_files_on_another_host_are_fetched_without_the_token() {
    let cache = tempfile::tempdir().unwrap();
    let elsewhere = Server::start();
    let server = Server::start().with_large_files_at(&elsewhere);
    let mut hub = hub(&server, cache.path());
    hub.token = Some(Token::new(SECRET));
    let folder = resolve(&hub, MODEL).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), server::weights());
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.authorization.as_deref() == Some("Bearer hf_secret"))
    );
    let abroad = elsewhere.requests();
    assert!(!abroad.is_empty() && abroad.iter().all(|request| request.authorization.is_none()));
}

#[test]
fn a_gated_model_asks_for_a_token_and_takes_it() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start().gated(SECRET);
    let mut hub = hub(&server, cache.path());
    let error = resolve(&hub, MODEL).unwrap_err();
    assert!(matches!(error, HubError::Refused { .. }));
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    hub.token = Some(Token::new(SECRET));
    assert!(resolve(&hub, MODEL).is_ok());
}

#[test]
fn the_token_shows_neither_in_errors_nor_in_debug_output() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start().gated("another");
    let mut hub = hub(&server, cache.path());
    hub.token = Some(Token::new(SECRET));
    let error = resolve(&hub, MODEL).unwrap_err();
    hub.token = Some(Token::new("hf_secret\nwith a line break"));
    let other = resolve(&hub, MODEL).unwrap_err();
    for text in [
        format!("{error}"),
        format!("{error:?}"),
        format!("{other} {other:?}"),
        format!("{hub:?}"),
    ] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn an_unknown_model_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start();
    let error = resolve(&hub(&server, cache.path()), "someone/nothing").unwrap_err();
    assert!(matches!(error, HubError::Unknown { .. }));
    assert!(error.to_string().contains("someone/nothing"), "{error}");
}

#[test]
fn without_network_the_error_says_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let endpoint = Server::start().address();
    let mut hub = Hub {
        endpoint,
        token: None,
        cache: cache.path().to_owned(),
        offline: false,
    };
    // The server is gone: its port answers no more.
    let error = resolve(&hub, MODEL).unwrap_err().to_string();
    assert!(error.contains("another machine") && error.contains("digits"), "{error}");
    hub.offline = true;
    let error = resolve(&hub, MODEL).unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn a_hostile_server_cannot_write_outside_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start().with_etag("../../../evil");
    let error = resolve(&hub(&server, cache.path()), MODEL).unwrap_err();
    assert!(matches!(error, HubError::Answer { .. }), "{error}");
}

#[test]
fn folders_and_named_folders_need_no_network() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let hub = Hub {
        endpoint: String::new(),
        token: None,
        cache: PathBuf::new(),
        offline: true,
    };
    assert_eq!(resolve(&hub, folder.path().to_str().unwrap()).unwrap(), folder.path());
    assert_eq!(
        hub.resolve("digits", &[("digits", folder.path())], &mut |_| ())
            .unwrap(),
        folder.path()
    );
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let error = resolve(&hub, folder.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    let error = hub
        .resolve("./nowhere", &[("digits", folder.path())], &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("digits") && error.contains("nowhere"), "{error}");
}
