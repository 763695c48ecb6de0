//! Requests to hypotheses: encode, detect the language, search, judge, try again, time the words.
use std::path::Path;

use super::job::{Job, Language};
use super::lanes::run;
use super::rules::log_sum_exp;
use super::sampling::argmax;
use super::timing;
use super::vocabulary::Vocabulary;
use super::{Context, Hypothesis, Request};
use crate::whisper::{Cache, Encoded, HOP, Lane, Mel, Model, Precision, SAMPLE_RATE, Tokenizer, WhisperError};

/// A checkpoint ready to turn windows of audio into text. Share it between threads through an `Arc`: it holds no state.
pub struct Transcriber {
    pub(super) model: Model,
    pub(super) tokenizer: Tokenizer,
    pub(super) vocabulary: Vocabulary,
}

impl Transcriber {
    /// Loads the checkpoint in `dir` (the Hugging Face layout).
    ///
    /// # Errors
    /// A file of the checkpoint is missing or not what it should be.
    pub fn load(dir: &Path, precision: Precision) -> Result<Self, WhisperError> {
        Self::new(Model::load(dir, precision)?, Tokenizer::load(dir)?)
    }

    /// Joins a model with its tokenizer.
    ///
    /// # Errors
    /// The special tokens contradict each other.
    pub fn new(model: Model, tokenizer: Tokenizer) -> Result<Self, WhisperError> {
        let vocabulary = Vocabulary::new(model.config(), &tokenizer)?;
        Ok(Transcriber {
            model,
            tokenizer,
            vocabulary,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The longest audio of a request, in samples: 30 s for OpenAI's checkpoints.
    pub fn window(&self) -> usize {
        2 * self.model.config().max_source_positions * HOP
    }

    /// Recognises one window per request, all in one batch: one pass of the encoder, and decoder steps that serve all
    /// requests at once. A hypothesis depends on its own request only, not on the others in the batch.
    ///
    /// # Errors
    /// Each request has its own result: audio longer than the model's window or not finite, an unknown language, a task
    /// that the model can't do, a prefix that leaves no room for text.
    pub fn transcribe(&self, requests: &[Request<'_>]) -> Vec<Result<Hypothesis, WhisperError>> {
        let mut jobs: Vec<Result<Job<'_>, WhisperError>> =
            requests.iter().map(|request| Job::new(self, request)).collect();
        let outcome = self.work(&mut jobs.iter_mut().flatten().collect::<Vec<_>>());
        let finish = |job: Result<Job<'_>, WhisperError>| match &outcome {
            Ok(()) => job.map(|job| job.finish(self)),
            Err(error) => job.and_then(|_| Err(WhisperError::Request(error.to_string()))),
        };
        jobs.into_iter().map(finish).collect()
    }

    /// The languages that the model knows with their probabilities for this window, likeliest first; only `en` for models
    /// of one language.
    ///
    /// # Errors
    /// The audio is longer than the model's window or not finite.
    pub fn detect_language(&self, audio: &[f32], context: Context) -> Result<Vec<(String, f32)>, WhisperError> {
        self.check_audio(audio)?;
        if self.vocabulary.languages.is_empty() {
            return Ok(vec![("en".to_owned(), 1.0)]);
        }
        let encoded = self.model.encode(&[self.mel(audio, context)])?;
        let probabilities = self.language_probabilities(&encoded)?.swap_remove(0);
        let codes = self.vocabulary.languages.iter().map(|(code, _)| code.clone());
        let mut languages: Vec<(String, f32)> = codes.zip(probabilities).collect();
        languages.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(languages)
    }

    fn work(&self, jobs: &mut [&mut Job<'_>]) -> Result<(), WhisperError> {
        loop {
            let mut pending: Vec<&mut Job<'_>> = jobs
                .iter_mut()
                .map(|job| &mut **job)
                .filter(|job| job.attempt.is_some())
                .collect();
            if pending.is_empty() {
                break;
            }
            self.encode(&mut pending)?;
            self.detect_languages(&mut pending)?;
            let runs = pending.iter().filter_map(|job| job.run(self)).collect();
            let found = run(&self.model, self.vocabulary.no_speech, runs)?;
            for (job, (decoded, no_speech_prob)) in pending.iter_mut().zip(found) {
                job.judge(self, decoded, no_speech_prob);
            }
        }
        timing::time_words(self, jobs)
    }

    /// Encodes the windows whose attempt wants another context than they have.
    pub(super) fn encode(&self, jobs: &mut [&mut Job<'_>]) -> Result<(), WhisperError> {
        let mut stale: Vec<&mut &mut Job<'_>> = jobs.iter_mut().filter(|job| job.wanted_context().is_some()).collect();
        let wanted: Vec<Context> = stale.iter().filter_map(|job| job.wanted_context()).collect();
        let windows: Vec<Mel> = stale
            .iter()
            .zip(&wanted)
            .map(|(job, &context)| self.mel(job.request.audio, context))
            .collect();
        if windows.is_empty() {
            return Ok(());
        }
        let encoded = self.model.encode(&windows)?;
        for ((job, context), encoded) in stale.iter_mut().zip(wanted).zip(encoded) {
            job.encoded = Some((context, encoded));
        }
        Ok(())
    }

    fn mel(&self, audio: &[f32], context: Context) -> Mel {
        let full = 2 * self.model.config().max_source_positions;
        let frames = match context {
            Context::Padded => full,
            Context::Unpadded { margin } => {
                let margin = (margin.max(0.0) * SAMPLE_RATE as f32) as usize;
                // An even number: the encoder halves it.
                ((audio.len() + margin).div_ceil(2 * HOP) * 2).clamp(2, full)
            }
        };
        self.model.mel(audio).padded(frames)
    }

    fn detect_languages(&self, jobs: &mut [&mut Job<'_>]) -> Result<(), WhisperError> {
        let mut unknown: Vec<&mut &mut Job<'_>> = jobs.iter_mut().filter(|job| job.language.is_none()).collect();
        let audio: Vec<Encoded> = unknown
            .iter()
            .filter_map(|job| job.encoded.as_ref().map(|(_, e)| e.clone()))
            .collect();
        for (job, probabilities) in unknown.iter_mut().zip(self.language_probabilities(&audio)?) {
            let likeliest = argmax(&probabilities) as usize;
            let (code, token) = &self.vocabulary.languages[likeliest];
            let probability = probabilities[likeliest];
            job.language = Some(Language {
                code: code.clone(),
                token: Some(*token),
                probability,
            });
        }
        Ok(())
    }

    /// The probability of every language for every window: what the model says after `<|startoftranscript|>` alone.
    fn language_probabilities(&self, audio: &[Encoded]) -> Result<Vec<Vec<f32>>, WhisperError> {
        if audio.is_empty() {
            return Ok(Vec::new());
        }
        let start = [self.vocabulary.start_of_transcript];
        let mut caches = vec![Cache::new(); audio.len()];
        let mut lanes: Vec<Lane<'_>> = audio
            .iter()
            .zip(&mut caches)
            .map(|(audio, cache)| Lane::new(audio, cache, &start))
            .collect();
        let steps = self.model.decode(&mut lanes)?;
        let probabilities = |logits: &[f32]| {
            let languages = &self.vocabulary.languages;
            let logits: Vec<f32> = languages.iter().map(|&(_, token)| logits[token as usize]).collect();
            let normalizer = log_sum_exp(&logits);
            logits.iter().map(|logit| (logit - normalizer).exp()).collect()
        };
        Ok(steps.iter().map(|step| probabilities(&step.logits)).collect())
    }

    /// # Errors
    /// The audio is longer than the window or not finite.
    pub(super) fn check_audio(&self, audio: &[f32]) -> Result<(), WhisperError> {
        if audio.len() > self.window() {
            let seconds = |samples: usize| samples as f64 / SAMPLE_RATE as f64;
            return Err(WhisperError::Request(format!(
                "the audio lasts {:.1} s, this model hears at most {:.1} s at a time; cut it into windows",
                seconds(audio.len()),
                seconds(self.window())
            )));
        }
        match audio.iter().position(|sample| !sample.is_finite()) {
            Some(place) => Err(WhisperError::Request(format!(
                "sample {place} of the audio is not a finite number"
            ))),
            None => Ok(()),
        }
    }
}

/// All sessions share one transcriber.
const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Transcriber>();
};
