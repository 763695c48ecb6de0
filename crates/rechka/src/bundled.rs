//! The bundled model: carried in the binary, unpacked once into the user's cache, so that the first command needs no download.
use std::{fs, io, path::PathBuf};

use anyhow::{Context, Result};
use ring::digest::{Context as Digest, SHA256};

/// The name that `--model` knows it by.
pub const NAME: &str = "digits";

macro_rules! files {
    ($($name:literal)*) => { [$(($name, include_bytes!(concat!("../../../models/digits/", $name)).as_slice())),*] };
}

const FILES: [(&str, &[u8]); 6] = files!["config.json" "generation_config.json" "live.json"
    "preprocessor_config.json" "tokenizer.json" "model.safetensors"];

/// The folder that the model is unpacked in: below the user's cache, named after its content.
pub fn folder() -> Result<PathBuf> {
    let mut digest = Digest::new(&SHA256);
    for (name, bytes) in FILES {
        digest.update(name.as_bytes());
        digest.update(bytes);
    }
    let content: String = digest
        .finish()
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache().join("rechka").join("models").join(format!("{NAME}-{content}"));
    unpack(&folder).with_context(|| {
        format!(
            "unpacking the bundled model into {} (another place? set XDG_CACHE_HOME)",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// Writes what is missing, each file whole: two processes may do so at once.
fn unpack(folder: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64) {
            continue;
        }
        let partial = folder.join(format!("{name}.{}", std::process::id()));
        fs::write(&partial, bytes)?;
        fs::rename(&partial, &path)?;
    }
    Ok(())
}

/// The user's cache, or the system's folder for temporary files.
fn cache() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}
