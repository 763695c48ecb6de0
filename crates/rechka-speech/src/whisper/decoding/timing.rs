//! When words were spoken.
use super::align::{Attention, alignment, warp};
use super::job::{Job, Outcome};
use super::segments::STEP;
use super::transcriber::Transcriber;
use crate::whisper::{Cache, Encoded, Lane, WhisperError};

/// Finds when each text token of the chosen outcomes begins, for the jobs that want to know, by reading all texts once more
/// in one batch and warping them onto the audio.
pub(super) fn time_words(transcriber: &Transcriber, jobs: &mut [&mut Job<'_>]) -> Result<(), WhisperError> {
    let mut readings = Vec::new();
    for (index, job) in jobs
        .iter()
        .enumerate()
        .filter(|(_, job)| job.request.options.word_times)
    {
        if let Some(outcome) = job.outcome().filter(|outcome| !outcome.decoded.tokens.is_empty()) {
            readings.push(Reading::new(transcriber, job, outcome, index));
        }
    }
    if readings.is_empty() {
        return Ok(());
    }
    let mut caches = vec![Cache::new(); readings.len()];
    let mut lanes: Vec<Lane<'_>> = readings
        .iter()
        .zip(&mut caches)
        .map(|(reading, cache)| Lane {
            logits_from: reading.tokens.len(),
            attention: true,
            ..Lane::new(&reading.audio, cache, &reading.tokens)
        })
        .collect();
    let steps = transcriber.model.decode(&mut lanes)?;
    let config = transcriber.model.config();
    for (reading, step) in readings.iter().zip(steps) {
        let attention = Attention {
            heads: config.alignment_heads.len(),
            tokens: reading.tokens.len(),
            frames: reading.audio.frames(),
            weights: step.attention,
        };
        jobs[reading.job].begins = reading.begins(&attention, config.median_filter_width);
    }
    Ok(())
}

/// A text with its control tokens, as the decoder reads it to tell where it listens.
struct Reading {
    job: usize,
    audio: Encoded,
    tokens: Vec<u32>,
    /// The token before the first one of the whole text: its row is where the first one is heard.
    first: usize,
    /// Tokens of the text's prefix, and of the text after it.
    prefix: usize,
    text: usize,
}

impl Reading {
    fn new(transcriber: &Transcriber, job: &Job<'_>, outcome: &Outcome, index: usize) -> Self {
        let vocabulary = &transcriber.vocabulary;
        let mut tokens = job.control(transcriber, false);
        let first = tokens.len() - 1;
        let prefix = job.prefix(transcriber);
        tokens.extend(&prefix);
        let before = tokens.len();
        tokens.extend(
            outcome
                .decoded
                .tokens
                .iter()
                .filter(|&&token| token < vocabulary.end_of_text),
        );
        tokens.truncate(transcriber.model.config().max_target_positions);
        let text = tokens.len() - before;
        if tokens.len() < transcriber.model.config().max_target_positions {
            tokens.push(vocabulary.end_of_text);
        }
        Reading {
            job: index,
            audio: outcome.audio.clone(),
            tokens,
            first,
            prefix: prefix.len(),
            text,
        }
    }

    fn begins(&self, attention: &Attention, width: usize) -> Vec<f64> {
        let attention = attention.crop(self.audio.audio_frames());
        let rows = self.prefix + self.text + 1;
        let matrix = alignment(&attention, self.first, width);
        let begins = warp(&matrix[..rows * attention.frames], rows, attention.frames);
        begins[self.prefix..].iter().map(|&frame| frame as f64 * STEP).collect()
    }
}
