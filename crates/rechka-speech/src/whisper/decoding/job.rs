//! One request on its way through the attempts to decode it.
use super::attend::Follower;
use super::beam::BeamSearch;
use super::lanes::Run;
use super::quality::{Attempt, Quality, Verdict, best_of, compression_ratio};
use super::rules::Rules;
use super::sampling::Random;
use super::search::{Decoded, GreedySearch, Search};
use super::transcriber::Transcriber;
use super::{Context, Ended, Hypothesis, Request, Task, hypothesis, languages, prompt, words};
use crate::whisper::{Encoded, SAMPLE_RATE, WhisperError};

/// Tokens that any window may have, and per second of audio: nobody speaks faster.
const LEAST_BUDGET: usize = 50;
const BUDGET_PER_SECOND: f64 = 22.5;
/// Bytes of previous text that are looked at: more than half the decoder's positions can hold.
const PREVIOUS_TEXT: usize = 4096;

/// The language of a window.
pub(super) struct Language {
    pub(super) code: String,
    pub(super) token: Option<u32>,
    pub(super) probability: f32,
}

/// What one attempt gave.
pub(super) struct Outcome {
    pub(super) attempt: Attempt,
    pub(super) verdict: Verdict,
    pub(super) quality: Quality,
    pub(super) decoded: Decoded,
    pub(super) audio: Encoded,
}

/// A request, what is known about it, and what was tried.
pub(super) struct Job<'a> {
    pub(super) request: &'a Request<'a>,
    /// Seconds of audio.
    pub(super) duration: f64,
    /// `None` until detected.
    pub(super) language: Option<Language>,
    /// What to try next; `None` when an outcome is chosen.
    pub(super) attempt: Option<Attempt>,
    pub(super) encoded: Option<(Context, Encoded)>,
    outcomes: Vec<Outcome>,
    /// When each text token begins, in seconds, and when the text ends; empty until known.
    pub(super) begins: Vec<f64>,
}

impl<'a> Job<'a> {
    pub(super) fn new(transcriber: &Transcriber, request: &'a Request<'a>) -> Result<Self, WhisperError> {
        transcriber.check_audio(request.audio)?;
        let vocabulary = &transcriber.vocabulary;
        let options = request.options;
        if options.task == Task::Translate && vocabulary.translate.is_none() {
            let reason = "this model only transcribes; choose a multilingual model to translate";
            return Err(WhisperError::Request(reason.to_owned()));
        }
        if options.timestamps && !request.prefix.is_empty() {
            let reason = "a prefix and timestamps don't go together; ask for word times instead";
            return Err(WhisperError::Request(reason.to_owned()));
        }
        let language = match &options.language {
            _ if vocabulary.languages.is_empty() => Some(Language {
                code: "en".to_owned(),
                token: None,
                probability: 1.0,
            }),
            Some(language) => {
                let (code, token) = vocabulary.language(language)?;
                Some(Language {
                    code: code.to_owned(),
                    token: Some(token),
                    probability: 1.0,
                })
            }
            None => None,
        };
        let job = Job {
            request,
            duration: request.audio.len() as f64 / SAMPLE_RATE as f64,
            language,
            attempt: Some(Attempt::first(options)),
            encoded: None,
            outcomes: Vec::new(),
            begins: Vec::new(),
        };
        prompt::check_prefix(
            job.prefix(transcriber).len(),
            transcriber.model.config().max_target_positions,
        )?;
        Ok(job)
    }

    /// The context to encode, when it is not the one at hand.
    pub(super) fn wanted_context(&self) -> Option<Context> {
        let wanted = self.attempt?.context;
        let has = self.encoded.as_ref().is_some_and(|(context, _)| *context == wanted);
        (!has).then_some(wanted)
    }

    /// The control tokens that begin the transcript.
    pub(super) fn control(&self, transcriber: &Transcriber, timestamps: bool) -> Vec<u32> {
        let language = self.language.as_ref().and_then(|language| language.token);
        prompt::control(&transcriber.vocabulary, language, self.request.options.task, timestamps)
    }

    /// The tokens of the text that the transcript begins with.
    pub(super) fn prefix(&self, transcriber: &Transcriber) -> Vec<u32> {
        let spaced = self
            .language
            .as_ref()
            .is_none_or(|language| languages::writes_spaces(&language.code));
        match self.request.prefix.trim() {
            "" => Vec::new(),
            text if spaced => transcriber.tokenizer.encode(&format!(" {text}")),
            text => transcriber.tokenizer.encode(text),
        }
    }

    /// The search that the next attempt asks for.
    pub(super) fn run<'t>(&self, transcriber: &'t Transcriber) -> Option<Run<'t>> {
        let attempt = self.attempt?;
        let (_, audio) = self.encoded.as_ref()?;
        let Transcriber {
            model,
            tokenizer,
            vocabulary,
        } = transcriber;
        let options = self.request.options;
        let positions = model.config().max_target_positions;
        let prefix = self.prefix(transcriber);
        let previous = tail(self.request.prompt.trim(), PREVIOUS_TEXT);
        let previous = if previous.is_empty() {
            Vec::new()
        } else {
            tokenizer.encode(&format!(" {previous}"))
        };
        let control = self.control(transcriber, options.timestamps);
        let start = prompt::start(vocabulary, positions, &previous, &control, &prefix);
        let budget = LEAST_BUDGET.max((BUDGET_PER_SECOND * self.duration) as usize);
        let room = positions.saturating_sub(start.tokens.len());
        let max_tokens = options.max_tokens.unwrap_or(budget).min(room).max(1);
        let rules = Rules {
            vocabulary,
            timestamps: options.timestamps,
            from_begin: prefix.is_empty(),
        };
        let follower = options
            .align_att
            .map(|policy| Follower::new(policy, model.config(), audio, !prefix.is_empty()));
        let sampled = attempt.temperature > 0.0;
        let search = if options.beam_size > 1 && !sampled && follower.is_none() {
            Search::Beam(BeamSearch::new(
                rules,
                options.beam_size,
                options.length_penalty,
                max_tokens,
            ))
        } else {
            let random = || Random::for_audio(self.request.audio, attempt.temperature);
            let sampling = sampled.then(|| (attempt.temperature, random()));
            Search::Greedy(GreedySearch::new(rules, max_tokens, sampling, follower))
        };
        Some(Run::new(search, audio.clone(), start))
    }

    /// Takes an attempt's result, and decides whether to try again.
    pub(super) fn judge(&mut self, transcriber: &Transcriber, mut decoded: Decoded, no_speech_prob: f32) {
        let (Some(attempt), Some((_, audio))) = (self.attempt, &self.encoded) else {
            return;
        };
        if self.request.options.align_att.is_some_and(|policy| !policy.last) {
            self.drop_last_word(transcriber, &mut decoded);
        }
        let text = transcriber.tokenizer.decode(&decoded.tokens);
        let quality = Quality {
            compression_ratio: compression_ratio(text.trim()),
            avg_logprob: decoded.avg_logprob,
            no_speech_prob,
            looped: decoded.ended == Ended::Loop,
            length: text.len(),
        };
        let verdict = quality.verdict(self.request.options);
        self.attempt = attempt.after(verdict, self.request.options);
        self.outcomes.push(Outcome {
            attempt,
            verdict,
            quality,
            decoded,
            audio: audio.clone(),
        });
        if self.attempt.is_none() {
            self.choose(verdict);
        }
    }

    /// Keeps the last outcome if it can be believed, or else the best of all.
    fn choose(&mut self, last: Verdict) {
        if !matches!(last, Verdict::Accept | Verdict::Silence) {
            let results: Vec<_> = self
                .outcomes
                .iter()
                .map(|outcome| (outcome.verdict, outcome.quality.avg_logprob))
                .collect();
            self.outcomes.truncate(best_of(&results) + 1);
        }
    }

    /// The outcome chosen, once there is nothing left to try.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcomes.last().filter(|_| self.attempt.is_none())
    }

    /// While speech goes on, the last word may be half heard; a tail that is no whole character is held back too.
    fn drop_last_word(&self, transcriber: &Transcriber, decoded: &mut Decoded) {
        let code = self.language.as_ref().map_or("en", |language| &language.code);
        let words = words::split(&transcriber.tokenizer, &decoded.tokens, code);
        let keep = words.last().map_or(0, |word| word.tokens.start);
        decoded.tokens.truncate(keep);
        decoded.log_probabilities.truncate(keep);
    }

    /// The hypothesis of the chosen outcome.
    pub(super) fn finish(self, transcriber: &Transcriber) -> Hypothesis {
        hypothesis::build(transcriber, &self)
    }
}

/// The last `bytes` of `text` or a little less, in whole characters.
fn tail(text: &str, bytes: usize) -> &str {
    let start = text.len().saturating_sub(bytes);
    let start = (start..=text.len())
        .find(|&index| text.is_char_boundary(index))
        .unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_cut_between_characters() {
        assert_eq!(tail("речка", 5), "ка");
        assert_eq!(tail("речка", 99), "речка");
    }
}
