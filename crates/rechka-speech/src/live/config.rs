//! Settings of a session.
use std::{io::ErrorKind, path::Path};

use serde::Deserialize;

use super::Policy;
use crate::whisper::{Options, WhisperError};

/// The file in a checkpoint's folder that says how the model likes to be used.
const FILE: &str = "live.json";

/// How a session recognises.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// When words become final.
    pub policy: Policy,
    /// Seconds of new audio between two hypotheses.
    pub min_chunk: f64,
    /// Speech longer than this many seconds is cut. At most the model's window less `min_chunk` is used.
    pub max_buffer: f64,
    /// The model's window in seconds: no request is longer.
    pub window: f64,
    /// Characters of the text said so far that are the next request's prompt; 0 for none.
    pub prompt_characters: usize,
    /// How to decode while one speaks.
    pub options: Options,
    /// How to decode a segment that is complete.
    pub last_options: Options,
}

impl Config {
    /// The usual settings for a model with a window of `window` seconds.
    pub fn new(window: f64) -> Self {
        let last_options = Options::default();
        let options = Options {
            temperatures: vec![0.0],
            ..last_options.clone()
        };
        Config {
            policy: Policy::default(),
            min_chunk: 1.0,
            max_buffer: 15.0,
            window,
            prompt_characters: 200,
            options,
            last_options,
        }
    }

    /// The settings for the checkpoint in `folder`, whose window is `window` seconds: the usual ones, or what its file
    /// `live.json` says instead.
    ///
    /// Models differ: one that was not trained with prompts loses its words to them, one that was trained on short
    /// windows hears little in long ones. So what was measured is kept beside the weights:
    ///
    /// ```json
    /// {"policy": "local-agreement", "window": 8.0, "min_chunk": 1.0, "max_buffer": 6.0, "prompt_characters": 0}
    /// ```
    ///
    /// # Errors
    /// The file can't be read, or is not such a file.
    pub fn for_model(folder: &Path, window: f64) -> Result<Self, WhisperError> {
        let settings = Settings::read(folder)?;
        let mut config = Config::new(settings.window.map_or(window, |wanted| wanted.min(window)));
        config.policy = settings.policy.unwrap_or(config.policy);
        config.min_chunk = settings.min_chunk.unwrap_or(config.min_chunk);
        config.max_buffer = settings.max_buffer.unwrap_or(config.max_buffer);
        config.prompt_characters = settings.prompt_characters.unwrap_or(config.prompt_characters);
        Ok(config)
    }

    /// Samples between two hypotheses, at least 0.1 s.
    pub(super) fn chunk(&self) -> u64 {
        let shortest = 0.1;
        (self.min_chunk.clamp(shortest, (self.window / 2.0).max(shortest)) * 16_000.0) as u64
    }

    /// The longest buffer in samples after a cut: another chunk must still fit into the window.
    pub(super) fn bound(&self) -> u64 {
        let longest = ((self.window * 16_000.0) as u64).saturating_sub(self.chunk());
        ((self.max_buffer * 16_000.0) as u64).clamp(self.chunk(), longest.max(self.chunk()))
    }
}

/// The content of [`FILE`]: what a model wishes.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    policy: Option<Policy>,
    /// The longest audio that the model hears well, in seconds.
    pub window: Option<f64>,
    min_chunk: Option<f64>,
    max_buffer: Option<f64>,
    prompt_characters: Option<usize>,
}

impl Settings {
    /// What the checkpoint in `folder` wishes, if anything.
    pub fn read(folder: &Path) -> Result<Self, WhisperError> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Settings::default()),
            Err(cause) => return Err(WhisperError::Read { path, cause }),
        };
        serde_json::from_slice(&text).map_err(|error| WhisperError::Invalid {
            path,
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_wishes_gets_the_usual_settings() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Config::for_model(folder.path(), 30.0).unwrap(), Config::new(30.0));
    }

    #[test]
    fn a_models_wishes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join(FILE),
            r#"{"policy": "align-att", "window": 8, "prompt_characters": 0}"#,
        )
        .unwrap();
        let config = Config::for_model(folder.path(), 30.0).unwrap();
        assert_eq!(
            (config.policy, config.window, config.prompt_characters),
            (Policy::AlignAtt, 8.0, 0)
        );
        assert_eq!(config.max_buffer, Config::new(30.0).max_buffer);
    }

    #[test]
    fn a_wish_that_is_misspelt_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"max_bufer": 3}"#).unwrap();
        let error = Config::for_model(folder.path(), 30.0).unwrap_err().to_string();
        assert!(error.contains("live.json") && error.contains("max_bufer"), "{error}");
    }

    #[test]
    fn a_buffer_and_a_chunk_always_fit_into_the_window() {
        for (min_chunk, max_buffer, window) in [(1.0, 15.0, 30.0), (1.0, 15.0, 8.0), (20.0, 0.0, 8.0), (0.0, 99.0, 1.0)]
        {
            let config = Config {
                min_chunk,
                max_buffer,
                ..Config::new(window)
            };
            assert!(config.bound() + config.chunk() <= (window * 16_000.0) as u64);
            assert!(config.bound() > 0 && config.chunk() > 0);
        }
    }
}
