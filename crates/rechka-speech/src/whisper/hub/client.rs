//! The hub's API: what a revision holds, and its files, in parts if need be.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use serde::Deserialize;
use ureq::http::header::{AUTHORIZATION, LOCATION, RANGE};
use ureq::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::cache::{self, Repository, is_plain};
use super::{FILES, Hub, HubError, Progress, WEIGHTS, WEIGHTS_INDEX};

/// Attempts at a file that bring nothing new before giving up.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const REDIRECTS: usize = 8;
/// A list of files longer than this is not one.
const LARGEST_LIST: u64 = 16 << 20;

/// The key to gated and private models. It does not show in logs.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token as the hub gave it.
    pub fn new(token: &str) -> Self {
        Token(token.to_owned())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Talks to the hub about one revision of a model.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    id: &'a str,
    revision: &'a str,
    agent: Agent,
}

/// A file as the hub describes it.
#[derive(Clone, Debug, PartialEq)]
struct Remote {
    name: String,
    etag: String,
    size: u64,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub, id: &'a str, revision: &'a str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed by hand, so that the token goes to the hub alone and its headers are seen.
            .max_redirects(0)
            .user_agent(concat!("rechka/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build();
        Client {
            hub,
            id,
            revision,
            agent: config.into(),
        }
    }

    /// Downloads what a checkpoint needs. Gives the snapshot's folder.
    pub(super) fn download(
        &self,
        repository: &Repository,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        let (commit, files) = self.list()?;
        let snapshot = repository
            .snapshot(&commit)
            .ok_or_else(|| self.wrong("commit", "not a plain name"))?;
        let mut wanted: Vec<String> = FILES
            .iter()
            .filter(|(file, needed)| *needed || files.iter().any(|name| name == file))
            .map(|(file, _)| (*file).to_owned())
            .collect();
        if files.iter().any(|name| name == WEIGHTS) {
            wanted.push(WEIGHTS.to_owned());
        } else if files.iter().any(|name| name == WEIGHTS_INDEX) {
            let index = self.describe(&commit, WEIGHTS_INDEX)?;
            let path = self.fetch(repository, &snapshot, &commit, &index, &mut |_| ())?;
            wanted.extend(cache::shards(&path).map_err(|reason| self.wrong(WEIGHTS_INDEX, reason))?);
        } else {
            return Err(HubError::NoWeights { id: self.id.to_owned() });
        }
        let remotes = wanted
            .iter()
            .map(|name| self.describe(&commit, name))
            .collect::<Result<Vec<Remote>, HubError>>()?;
        let total = remotes.iter().map(|remote| remote.size).sum();
        let mut before = 0;
        for remote in &remotes {
            let mut report = |received| {
                progress(Progress {
                    file: &remote.name,
                    received: before + received,
                    total,
                })
            };
            self.fetch(repository, &snapshot, &commit, remote, &mut report)?;
            before += remote.size;
        }
        repository.set_revision(self.revision, &commit)?;
        Ok(snapshot)
    }

    /// The revision's commit and its files.
    fn list(&self) -> Result<(String, Vec<String>), HubError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let path = format!("/api/models/{}/revision/{}", self.id, self.revision);
        let (_, mut response) = self.request("GET", &path, 0, true)?;
        let body = response.body_mut().with_config().limit(LARGEST_LIST).read_to_vec();
        let body = body.map_err(|error| HubError::unreachable(self.hub, self.id, plain(&error)))?;
        let info: Info = serde_json::from_slice(&body).map_err(|error| self.wrong("the list of files", error))?;
        Ok((
            info.sha,
            info.siblings.into_iter().map(|sibling| sibling.rfilename).collect(),
        ))
    }

    fn describe(&self, commit: &str, name: &str) -> Result<Remote, HubError> {
        let path = format!("/{}/resolve/{commit}/{name}", self.id);
        // Where large files lie, the hub answers with a redirection that describes what it leads to.
        let (headers, _) = self.request("HEAD", &path, 0, false)?;
        let header = |linked: &str, own: &str| headers.get(linked).or(headers.get(own))?.to_str().ok();
        let etag = header("x-linked-etag", "etag").map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let size = header("x-linked-size", "content-length").and_then(|size| size.parse().ok());
        match (etag, size) {
            (Some(etag), Some(size)) if is_plain(etag) => Ok(Remote {
                name: name.to_owned(),
                etag: etag.to_owned(),
                size,
            }),
            _ => Err(self.wrong(name, "its answer has no usable ETag and length")),
        }
    }

    /// Brings a file's bytes into the cache, from where an earlier attempt stopped, and links them into the snapshot.
    fn fetch(
        &self,
        repository: &Repository,
        snapshot: &Path,
        commit: &str,
        remote: &Remote,
        report: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, HubError> {
        let blob = repository
            .blob(&remote.etag)
            .ok_or_else(|| self.wrong(&remote.name, "no usable ETag"))?;
        if let Some(folder) = blob.parent() {
            fs::create_dir_all(folder).map_err(HubError::cache(folder))?;
        }
        if !blob.is_file() {
            let partial = blob.with_file_name(format!("{}.incomplete", remote.etag));
            let file = OpenOptions::new().create(true).append(true).read(true).open(&partial);
            let mut file = file.map_err(HubError::cache(&partial))?;
            // Another process that downloads the same file is waited for; then nothing is left to do.
            file.lock().map_err(HubError::cache(&partial))?;
            if !blob.is_file() {
                self.receive(commit, remote, &mut file, &partial, report)?;
                fs::rename(&partial, &blob).map_err(HubError::cache(&blob))?;
            }
        }
        report(remote.size);
        repository.link(snapshot, &remote.name, &blob)
    }

    fn receive(
        &self,
        commit: &str,
        remote: &Remote,
        file: &mut File,
        partial: &Path,
        report: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let written = HubError::cache;
        let mut idle = 0;
        loop {
            let mut have = file.seek(SeekFrom::End(0)).map_err(written(partial))?;
            if have > remote.size {
                file.set_len(0).map_err(written(partial))?;
                have = 0;
            }
            if have == remote.size {
                break;
            }
            match self.receive_from(commit, remote, file, have, report) {
                Ok(()) => {}
                // What interrupts a body may pass; everything else was already tried or can't be helped.
                Err(Interruption::Network(reason)) => {
                    let got = file.seek(SeekFrom::End(0)).map_err(written(partial))?;
                    idle = if got > have { 1 } else { idle + 1 };
                    if idle >= ATTEMPTS {
                        return Err(HubError::unreachable(self.hub, self.id, reason));
                    }
                    std::thread::sleep(PAUSE * idle);
                }
                Err(Interruption::Disk(error)) => return Err(written(partial)(error)),
                Err(Interruption::Hub(error)) => return Err(error),
            }
        }
        self.verify(remote, file, partial)
    }

    fn receive_from(
        &self,
        commit: &str,
        remote: &Remote,
        file: &mut File,
        have: u64,
        report: &mut dyn FnMut(u64),
    ) -> Result<(), Interruption> {
        let path = format!("/{}/resolve/{commit}/{}", self.id, remote.name);
        let (_, response) = self.request("GET", &path, have, true).map_err(|error| match error {
            HubError::Unreachable { reason, .. } => Interruption::Network(reason),
            error => Interruption::Hub(error),
        })?;
        let mut received = have;
        if response.status() != StatusCode::PARTIAL_CONTENT && have > 0 {
            // A server that can't continue begins again.
            file.set_len(0).map_err(Interruption::Disk)?;
            received = 0;
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        while received < remote.size {
            let most = buffer
                .len()
                .min(usize::try_from(remote.size - received).unwrap_or(usize::MAX));
            match body.read(&mut buffer[..most]) {
                Ok(0) => return Err(Interruption::Network("the connection ended early".to_owned())),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(Interruption::Disk)?;
                    received += count as u64;
                    report(received);
                }
                Err(error) => return Err(Interruption::Network(error.to_string())),
            }
        }
        Ok(())
    }

    /// Large files are tagged with their SHA-256.
    fn verify(&self, remote: &Remote, file: &mut File, partial: &Path) -> Result<(), HubError> {
        if remote.etag.len() != 64 {
            return Ok(());
        }
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; 1 << 16];
        file.rewind().map_err(HubError::cache(partial))?;
        loop {
            match file.read(&mut buffer).map_err(HubError::cache(partial))? {
                0 => break,
                count => context.update(&buffer[..count]),
            }
        }
        let digest: String = context
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if digest == remote.etag.to_lowercase() {
            return Ok(());
        }
        file.set_len(0).map_err(HubError::cache(partial))?;
        Err(self.wrong(&remote.name, "its bytes do not match their checksum"))
    }

    /// Sends a request to the hub and follows its redirections, to other hosts only if `abroad`. Gives all headers seen,
    /// the earliest first, and the last response.
    fn request(
        &self,
        method: &str,
        path: &str,
        from: u64,
        abroad: bool,
    ) -> Result<(HeaderMap, Response<Body>), HubError> {
        let unreachable = |reason: String| HubError::unreachable(self.hub, self.id, reason);
        let mut url = format!("{}{path}", self.hub.endpoint);
        let mut headers = HeaderMap::new();
        for _ in 0..REDIRECTS {
            let response = self
                .send(method, &url, from)
                .map_err(|error| unreachable(plain(&error)))?;
            let status = response.status();
            for (name, value) in response.headers() {
                headers.entry(name).or_insert_with(|| value.clone());
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match location.filter(|_| status.is_redirection()) {
                Some(location) if location.starts_with('/') && !location.starts_with("//") => {
                    headers.clear();
                    url = format!("{}{location}", origin(&url));
                }
                Some(location) if abroad => url = location.to_owned(),
                Some(_) => return Ok((headers, response)),
                None if status.is_success() => return Ok((headers, response)),
                None => return Err(self.refusal(path, &response)),
            }
        }
        Err(unreachable("it redirects in circles".to_owned()))
    }

    fn send(&self, method: &str, url: &str, from: u64) -> Result<Response<Body>, ureq::Error> {
        let mut request = if method == "HEAD" {
            self.agent.head(url)
        } else {
            self.agent.get(url)
        };
        let at_home = origin(url) == origin(&self.hub.endpoint);
        if let Some(token) = self.hub.token.as_ref().filter(|_| at_home)
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.0))
        {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        request.call()
    }

    fn refusal(&self, path: &str, response: &Response<Body>) -> HubError {
        let (endpoint, id) = (self.hub.endpoint.clone(), self.id.to_owned());
        let code = response
            .headers()
            .get("x-error-code")
            .and_then(|value| value.to_str().ok());
        match (response.status(), code) {
            (StatusCode::NOT_FOUND, Some("EntryNotFound")) => self.wrong(path, "the file is listed but not there"),
            (StatusCode::NOT_FOUND, _) | (_, Some("RepoNotFound" | "RevisionNotFound")) => HubError::Unknown {
                endpoint,
                id,
                revision: self.revision.to_owned(),
            },
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                let advice = if self.hub.token.is_some() {
                    format!(
                        "and the token in HF_TOKEN has no access; accept its terms at {endpoint}/{id} with that account"
                    )
                } else {
                    format!(
                        "accept its terms at {endpoint}/{id}, then set HF_TOKEN to a token from {endpoint}/settings/tokens"
                    )
                };
                HubError::Refused { endpoint, id, advice }
            }
            (status, _) => HubError::unreachable(self.hub, self.id, format!("it answers {status}")),
        }
    }

    fn wrong(&self, file: &str, reason: impl ToString) -> HubError {
        HubError::Answer {
            endpoint: self.hub.endpoint.clone(),
            id: self.id.to_owned(),
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// What ended the transfer of a body early.
enum Interruption {
    Network(String),
    Disk(std::io::Error),
    Hub(HubError),
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else {
        return String::new();
    };
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default())
}

/// An error without addresses: those of redirections carry signatures.
fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "a broken address".to_owned(),
        error => error.to_string(),
    }
}
