//! The model that `--model` names, loaded.
use std::{fs::File, io::Read, path::Path, sync::Arc};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rechka_speech::{
    audio::SAMPLE_RATE,
    live::{self, RecordingConfig},
    whisper::{Hub, Precision, Transcriber},
};
use ring::digest::{Context as Digest, SHA256};

use crate::{
    bundled,
    cli::{ModelArgs, PrecisionArg},
};

/// A model, ready to recognise.
pub struct LoadedModel {
    /// Version of its weights: the first 12 hexadecimal digits of their SHA-256.
    pub version: String,
    /// The model, shared by all sessions.
    pub transcriber: Arc<Transcriber>,
    /// How it recognises live speech.
    pub live: live::Config,
    /// How it recognises recordings.
    pub recording: RecordingConfig,
}

impl ModelArgs {
    /// Finds the model, downloads it when it must, and loads it.
    pub fn load(&self) -> Result<LoadedModel> {
        load(&self.model, self.precision)
    }

    /// The language to recognise; `None` detects it.
    pub fn language(&self) -> Option<String> {
        (self.language != "auto").then(|| self.language.clone())
    }
}

/// Finds a model, downloads it when it must, and loads it.
pub fn load(model: &str, precision: PrecisionArg) -> Result<LoadedModel> {
    let bundled = bundled::folder()?;
    let bar = ProgressBar::hidden();
    let folder = Hub::from_env().resolve(model, &[(bundled::NAME, &bundled)], &mut |progress| {
        if bar.is_hidden() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            bar.set_style(download_style());
        }
        bar.set_length(progress.total);
        bar.set_position(progress.received);
        bar.set_message(progress.file.to_owned());
    })?;
    bar.finish_and_clear();
    let precision = match precision {
        PrecisionArg::Int8 => Precision::Int8,
        PrecisionArg::F32 => Precision::F32,
    };
    let transcriber = Transcriber::load(&folder, precision).with_context(|| format!("loading the model {model:?}"))?;
    let window = transcriber.window() as f64 / f64::from(SAMPLE_RATE);
    Ok(LoadedModel {
        live: live::Config::for_model(&folder, window)?,
        recording: RecordingConfig::for_model(&folder, window)?,
        version: version(&folder).with_context(|| format!("reading the weights in {}", folder.display()))?,
        transcriber: Arc::new(transcriber),
    })
}

fn download_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} [{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

/// The SHA-256 of all weights in a folder, in the order of their names.
fn version(folder: &Path) -> std::io::Result<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    let mut digest = Digest::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            digest.update(&buffer[..read]);
        }
    }
    Ok(digest
        .finish()
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
