//! What recognises.
use std::sync::Arc;

use rechka_speech::{
    live,
    whisper::{Hypothesis, Request, Transcriber},
};
use rechka_sql::plan::Precision;

/// A model that turns windows of audio into hypotheses: a [`Transcriber`], or a script in tests.
pub trait Model: Send + Sync + 'static {
    /// One result per request, in order. It depends on its own request only, not on the others in the batch.
    fn transcribe(&self, requests: &[Request<'_>]) -> Vec<Result<Hypothesis, String>>;
}

impl Model for Transcriber {
    fn transcribe(&self, requests: &[Request<'_>]) -> Vec<Result<Hypothesis, String>> {
        let results = Transcriber::transcribe(self, requests).into_iter();
        results
            .map(|result| result.map_err(|error| error.to_string()))
            .collect()
    }
}

/// A model that is ready.
#[derive(Clone)]
pub struct LoadedModel {
    /// Version of its weights: the first 12 hexadecimal digits of their SHA-256.
    pub version: String,
    /// The model.
    pub model: Arc<dyn Model>,
    /// How it likes to recognise.
    pub live: live::Config,
}

/// Where models come from.
pub trait Models: Send + Sync {
    /// Finds and loads a model; one that is loaded already is shared. Else why there is none, and what to do about it.
    fn open(&self, model: &str, precision: Precision) -> Result<LoadedModel, String>;
}

/// There are none.
pub(super) struct NoModels;

impl Models for NoModels {
    fn open(&self, model: &str, _: Precision) -> Result<LoadedModel, String> {
        Err(format!("models can't be loaded here, so not {model:?} either"))
    }
}
