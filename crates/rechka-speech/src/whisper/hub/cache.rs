//! The local cache, laid out as `huggingface_hub` does:
//!
//! ```text
//! models--openai--whisper-base/
//!   blobs/ETAG               a file's bytes; ETAG.incomplete while they arrive
//!   snapshots/COMMIT/FILE    links to blobs
//!   refs/main                the commit that a revision stands for
//! ```
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{HubError, WEIGHTS, WEIGHTS_INDEX};

/// An index of more than this is not one.
const LARGEST_INDEX: u64 = 16 << 20;

/// One model's part of the cache.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    folder: PathBuf,
}

impl Repository {
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        Repository {
            folder: cache.join(format!("models--{}", id.replace('/', "--"))),
        }
    }

    /// The folder of a revision of which everything needed is here.
    pub(super) fn complete(&self, revision: &str) -> Option<PathBuf> {
        let commit = fs::read_to_string(self.folder.join("refs").join(revision));
        let commit = commit.unwrap_or_else(|_| revision.to_owned());
        let snapshot = self.snapshot(commit.trim())?;
        missing(&snapshot).is_none().then_some(snapshot)
    }

    /// The folder of a commit; `None` if it is not the name of one.
    pub(super) fn snapshot(&self, commit: &str) -> Option<PathBuf> {
        is_plain(commit).then(|| self.folder.join("snapshots").join(commit))
    }

    /// Where a file's bytes are; `None` if the tag can't be a file's name.
    pub(super) fn blob(&self, etag: &str) -> Option<PathBuf> {
        is_plain(etag).then(|| self.folder.join("blobs").join(etag))
    }

    /// Makes `file` of the commit's snapshot stand for the blob.
    pub(super) fn link(&self, snapshot: &Path, file: &str, blob: &Path) -> Result<PathBuf, HubError> {
        let link = snapshot.join(file);
        fs::create_dir_all(snapshot).map_err(HubError::cache(snapshot))?;
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).map_err(HubError::cache(&link))?;
        }
        let name = blob.file_name().unwrap_or_default();
        let relative = Path::new("..").join("..").join("blobs").join(name);
        symlink(&relative, &link)
            .or_else(|_| fs::copy(blob, &link).map(|_| ()))
            .map_err(HubError::cache(&link))?;
        Ok(link)
    }

    /// Makes a revision stand for a commit: done last, so that a half-filled snapshot is never taken for a model.
    pub(super) fn set_revision(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let refs = self.folder.join("refs");
        fs::create_dir_all(&refs).map_err(HubError::cache(&refs))?;
        let path = refs.join(revision);
        fs::write(&path, commit).map_err(HubError::cache(&path))
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Whether a server's word may be used as a file's name.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    !name.is_empty() && name.len() <= 128 && plain && !name.starts_with('.')
}

/// The first file that the checkpoint in `folder` lacks.
pub(super) fn missing(folder: &Path) -> Option<String> {
    let has = |file: &str| folder.join(file).is_file();
    if !has("config.json") {
        return Some("config.json".to_owned());
    }
    let has_tokenizer = has("tokenizer.json") || (has("vocab.json") && has("merges.txt"));
    if !has_tokenizer {
        return Some("tokenizer.json".to_owned());
    }
    match shards(&folder.join(WEIGHTS_INDEX)) {
        _ if has(WEIGHTS) => None,
        Ok(shards) => shards.into_iter().find(|shard| !has(shard)),
        Err(_) => Some(WEIGHTS.to_owned()),
    }
}

/// The files among which an index divides the weights.
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::HashMap<String, String>,
    }
    let length = fs::metadata(index).map_err(|error| error.to_string())?.len();
    if length > LARGEST_INDEX {
        return Err(format!("an index of {length} bytes"));
    }
    let json = fs::read(index).map_err(|error| error.to_string())?;
    let index: Index = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !is_plain(shard)) {
        Some(shard) => Err(format!("{shard:?} is no plain file name")),
        None if shards.is_empty() => Err("it names no files".to_owned()),
        None => Ok(shards),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_never_leave_the_cache() {
        assert!(is_plain("9f8a-b.c_D"));
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a b", "a\0", &"x".repeat(200)] {
            assert!(!is_plain(name), "{name:?}");
        }
        let repository = Repository::new(Path::new("cache"), "a/b");
        assert_eq!(repository.blob("../../x"), None);
        assert_eq!(repository.snapshot(".."), None);
    }

    #[test]
    fn a_checkpoint_lacks_what_it_lacks_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let write = |file: &str, text: &str| fs::write(path.join(file), text).unwrap();
        let lacks = || missing(path);
        assert_eq!(lacks().as_deref(), Some("config.json"));
        write("config.json", "{}");
        assert_eq!(lacks().as_deref(), Some("tokenizer.json"));
        write("tokenizer.json", "{}");
        assert_eq!(lacks().as_deref(), Some(WEIGHTS));
        write(
            WEIGHTS_INDEX,
            r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#,
        );
        write("one.safetensors", "");
        assert_eq!(lacks().as_deref(), Some("two.safetensors"));
        write("two.safetensors", "");
        assert_eq!(lacks(), None);
    }

    #[test]
    fn an_index_that_names_files_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join(WEIGHTS_INDEX);
        fs::write(&index, r#"{"weight_map":{"a":"../../secret"}}"#).unwrap();
        assert!(shards(&index).unwrap_err().contains("plain"));
    }
}
