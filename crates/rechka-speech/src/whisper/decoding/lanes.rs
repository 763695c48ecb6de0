//! Many searches through one decoder: every step reads the model's weights once for all lanes of all requests.
use super::prompt::Start;
use super::rules::log_sum_exp;
use super::search::{Continuation, Decoded, Search};
use crate::whisper::{Cache, Encoded, Lane, Model, Step, WhisperError};

/// A search with the audio it listens to and the decoder's memory of each of its lanes.
pub(super) struct Run<'a> {
    search: Search<'a>,
    audio: Encoded,
    start: Start,
    /// Each lane's memory and the tokens it has not read yet.
    lanes: Vec<(Cache, Vec<u32>)>,
    /// Known after the first step.
    no_speech_prob: Option<f32>,
    over: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(search: Search<'a>, audio: Encoded, start: Start) -> Self {
        let lanes = vec![(Cache::new(), start.tokens.clone())];
        Run {
            search,
            audio,
            start,
            lanes,
            no_speech_prob: None,
            over: false,
        }
    }

    fn lanes(&mut self) -> impl Iterator<Item = Lane<'_>> {
        let attention = self.search.wants_attention();
        let (audio, transcript) = (&self.audio, self.start.transcript);
        self.lanes.iter_mut().map(move |(cache, tokens)| {
            // What follows <|startoftranscript|> tells the probability of silence, so the first step starts there.
            let logits_from = if cache.is_empty() { transcript } else { 0 };
            Lane {
                logits_from,
                attention,
                ..Lane::new(audio, cache, tokens)
            }
        })
    }

    fn read(&mut self, mut steps: Vec<Step>, vocabulary: usize, no_speech: Option<u32>) {
        if self.no_speech_prob.is_none() {
            let logits = &steps[0].logits[..vocabulary];
            let probability = |token| (logits[token as usize] - log_sum_exp(logits)).exp();
            self.no_speech_prob = Some(no_speech.map_or(0.0, probability));
        }
        let attention = steps
            .first_mut()
            .map(|step| std::mem::take(&mut step.attention))
            .unwrap_or_default();
        let mut logits: Vec<&mut [f32]> = steps
            .iter_mut()
            .filter_map(|step| step.logits.chunks_exact_mut(vocabulary).next_back())
            .collect();
        match self.search.step(&mut logits, &attention) {
            Some(next) => self.continue_with(&next),
            None => {
                self.over = true;
                self.lanes.clear();
            }
        }
    }

    /// Forks and drops lanes. A parent's memory is copied for all but its last continuation.
    fn continue_with(&mut self, next: &[Continuation]) {
        let mut parents: Vec<Cache> = self.lanes.drain(..).map(|(cache, _)| cache).collect();
        for (index, continuation) in next.iter().enumerate() {
            let used_again = next[index + 1..]
                .iter()
                .any(|later| later.parent == continuation.parent);
            let parent = &mut parents[continuation.parent];
            let cache = if used_again {
                parent.clone()
            } else {
                std::mem::take(parent)
            };
            self.lanes.push((cache, vec![continuation.token]));
        }
    }
}

/// Runs all searches to their ends. Gives what each found and the probability that its audio holds no speech.
pub(super) fn run(
    model: &Model,
    no_speech: Option<u32>,
    mut runs: Vec<Run<'_>>,
) -> Result<Vec<(Decoded, f32)>, WhisperError> {
    while runs.iter().any(|run| !run.over) {
        let mut lanes: Vec<Lane<'_>> = runs.iter_mut().flat_map(Run::lanes).collect();
        let mut steps = model.decode(&mut lanes)?.into_iter();
        for run in runs.iter_mut().filter(|run| !run.over) {
            let own = steps.by_ref().take(run.lanes.len()).collect();
            run.read(own, model.config().vocab_size, no_speech);
        }
    }
    Ok(runs
        .into_iter()
        .map(|run| (run.search.result(), run.no_speech_prob.unwrap_or(0.0)))
        .collect())
}
