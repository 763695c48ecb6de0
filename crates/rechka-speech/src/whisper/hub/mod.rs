//! Where models come from: a folder, the local Hugging Face cache, or the hub.
//!
//! The client is our own on ureq, some 200 lines: `hf-hub` 1.0 brings some 200 more crates, among them the hub's chunk store and
//! a C library for cryptography; 0.5 trusts the server with file names and lengths, and panics on headers it doesn't
//! expect. The cache is the one that Python's `huggingface_hub` uses, so what either has downloaded serves both.
mod cache;
mod client;
mod error;

use std::path::{Path, PathBuf};

use cache::Repository;
use client::Client;

pub use client::Token;
pub use error::HubError;

/// The files of a checkpoint besides its weights, and whether it can't do without.
const FILES: [(&str, bool); 8] = [
    ("config.json", true),
    ("generation_config.json", false),
    ("preprocessor_config.json", false),
    ("tokenizer.json", false),
    ("vocab.json", false),
    ("merges.txt", false),
    ("added_tokens.json", false),
    // How the model likes to be used live, where its maker says so.
    ("live.json", false),
];
const WEIGHTS: &str = "model.safetensors";
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is being received.
    pub file: &'a str,
    /// Bytes of the whole model that are here, those of earlier attempts included.
    pub received: u64,
    /// Bytes of the whole model.
    pub total: u64,
}

/// Finds models by name, downloading what is not here yet.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Address of the hub or of a mirror, without a slash at its end.
    pub endpoint: String,
    /// Sent to the endpoint and to nobody else.
    pub token: Option<Token>,
    /// The folder of the local cache.
    pub cache: PathBuf,
    /// Never use the network.
    pub offline: bool,
}

impl Hub {
    /// The hub as the environment describes it, by the same variables as Python's `huggingface_hub`: `HF_ENDPOINT`,
    /// `HF_TOKEN` (or the token that `hf auth login` stored), `HF_HUB_CACHE`, `HF_HOME`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = variable("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
            cache.unwrap_or_else(|| PathBuf::from(".cache")).join("huggingface")
        });
        let token_file = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = variable("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = variable("HF_HUB_OFFLINE").is_some_and(|value| !matches!(value.trim(), "0" | "false" | "no"));
        Hub {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token
                .as_deref()
                .map(str::trim)
                .filter(|token| !token.is_empty())
                .map(Token::new),
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            offline,
        }
    }

    /// The folder of the checkpoint called `name`: one of the `named` folders, a folder, or a model of the hub
    /// (`openai/whisper-base`, or `openai/whisper-base@REVISION`), downloaded if the cache lacks it. An interrupted
    /// download continues where it stopped.
    ///
    /// # Errors
    /// Each says what to do: nothing of that name exists, a folder is not a checkpoint, the model is gated, the network
    /// can't be reached, the disk is full.
    pub fn resolve(
        &self,
        name: &str,
        named: &[(&str, &Path)],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        if let Some((_, folder)) = named.iter().find(|(known, _)| *known == name) {
            return checked(folder);
        }
        if Path::new(name).is_dir() {
            return checked(Path::new(name));
        }
        let known = || named.iter().map(|(name, _)| format!("`{name}`, ")).collect();
        let (id, revision) = parse(name).ok_or_else(|| HubError::NotFound {
            name: name.to_owned(),
            named: known(),
        })?;
        let repository = Repository::new(&self.cache, id);
        if let Some(folder) = repository.complete(revision) {
            return Ok(folder);
        }
        if self.offline {
            return Err(HubError::unreachable(self, id, "HF_HUB_OFFLINE is set"));
        }
        Client::new(self, id, revision).download(&repository, progress)
    }
}

fn checked(folder: &Path) -> Result<PathBuf, HubError> {
    match cache::missing(folder) {
        None => Ok(folder.to_owned()),
        Some(file) => Err(HubError::Incomplete {
            folder: folder.to_owned(),
            file,
        }),
    }
}

/// Splits `owner/model@revision` or `model`; `None` when it is no name that the hub could know.
fn parse(name: &str) -> Option<(&str, &str)> {
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    let is_name = |part: &str| {
        let plain = part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        !part.is_empty() && part.len() <= 96 && plain && !part.starts_with(['.', '-']) && !part.contains("..")
    };
    let parts: Vec<&str> = id.split('/').collect();
    (parts.len() <= 2 && parts.iter().all(|part| is_name(part)) && is_name(revision)).then_some((id, revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_may_have_an_owner_and_a_revision() {
        assert_eq!(parse("openai/whisper-base"), Some(("openai/whisper-base", "main")));
        assert_eq!(parse("gpt2@v1.0"), Some(("gpt2", "v1.0")));
        for name in [
            "",
            "/",
            "a/b/c",
            "./model",
            "../../etc",
            "a/..",
            "~/model",
            "a b",
            "a@",
            "a/b?x=1",
            "C:\\model",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
