//! The models that pipelines name.
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rechka_engine::{LoadedModel, Models, Speech};
use rechka_sql::plan::Precision;

use crate::{bundled, cli::PrecisionArg, model};

/// What speech is recognised with in pipelines whose paths are relative to `folder`.
pub fn speech(folder: &Path) -> Speech {
    Speech {
        models: Arc::new(Shared {
            folder: folder.to_owned(),
            loaded: Mutex::default(),
        }),
        ..Speech::default()
    }
}

/// Each model is loaded once.
struct Shared {
    folder: PathBuf,
    loaded: Mutex<HashMap<(String, Precision), LoadedModel>>,
}

impl Models for Shared {
    fn open(&self, name: &str, precision: Precision) -> Result<LoadedModel, String> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), precision);
        if let Some(known) = loaded.get(&key) {
            return Ok(known.clone());
        }
        let precision = match precision {
            Precision::Int8 => PrecisionArg::Int8,
            Precision::F32 => PrecisionArg::F32,
        };
        let folder = self.folder.join(name);
        let place = match name != bundled::NAME && folder.is_dir() {
            true => folder.to_string_lossy(),
            false => name.into(),
        };
        let model = model::load(&place, precision).map_err(|error| format!("{error:#}"))?;
        let model = LoadedModel {
            version: model.version,
            model: model.transcriber,
            live: model.live,
        };
        loaded.insert(key, model.clone());
        Ok(model)
    }
}
