//! What recognises.
use rechka_speech::whisper::{Hypothesis, Request, Transcriber};

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
