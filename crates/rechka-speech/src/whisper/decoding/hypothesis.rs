//! What a caller gets, from what was decided.
use super::job::{Job, Outcome};
use super::quality::Verdict;
use super::segments::{Span, split};
use super::transcriber::Transcriber;
use super::{Ended, Hypothesis, hallucination, words};
use crate::transcript::{Segment, Word};

/// The hypothesis of a job whose outcome is chosen.
pub(super) fn build(transcriber: &Transcriber, job: &Job<'_>) -> Hypothesis {
    let (code, language_probability) = match &job.language {
        Some(language) => (language.code.clone(), language.probability),
        None => ("en".to_owned(), 0.0),
    };
    let mut hypothesis = Hypothesis {
        language: code,
        language_probability,
        segments: Vec::new(),
        no_speech_prob: 0.0,
        temperature: 0.0,
        ended: Ended::Silence,
    };
    let Some(outcome) = job.outcome() else {
        return hypothesis;
    };
    hypothesis.no_speech_prob = outcome.quality.no_speech_prob;
    hypothesis.temperature = outcome.attempt.temperature;
    if outcome.verdict == Verdict::Silence {
        return hypothesis;
    }
    hypothesis.ended = outcome.decoded.ended;
    hypothesis.segments = segments(transcriber, job, outcome, &hypothesis.language);
    if let Some(silence) = job
        .request
        .options
        .hallucination_silence
        .filter(|_| !job.begins.is_empty())
    {
        hypothesis.segments = hallucination::drop_invented(hypothesis.segments, f64::from(silence), job.duration);
    }
    hypothesis
}

fn segments(transcriber: &Transcriber, job: &Job<'_>, outcome: &Outcome, language: &str) -> Vec<Segment> {
    let Transcriber {
        tokenizer, vocabulary, ..
    } = transcriber;
    let is_text = |token: u32| token < vocabulary.end_of_text;
    let decoded = &outcome.decoded;
    let probabilities: Vec<f32> = decoded
        .tokens
        .iter()
        .zip(&decoded.log_probabilities)
        .filter(|&(&token, _)| is_text(token))
        .map(|(_, log_probability)| log_probability.exp())
        .collect();
    let mut first = 0;
    let mut segments = Vec::new();
    for span in split(vocabulary, &decoded.tokens, job.duration) {
        let range = first..first + span.tokens.len();
        first = range.end;
        let words = match job.begins.get(range.start..range.end + 1) {
            Some(begins) => words::timed(
                words::split(tokenizer, &span.tokens, language),
                begins,
                &probabilities[range],
            ),
            None => Vec::new(),
        };
        let text = tokenizer.decode(&span.tokens);
        if !text.trim().is_empty() {
            segments.push(segment(job, outcome, span, text, words));
        }
    }
    segments
}

fn segment(job: &Job<'_>, outcome: &Outcome, span: Span, text: String, words: Vec<Word>) -> Segment {
    let Span {
        mut start,
        mut end,
        tokens,
    } = span;
    if let ([first, ..], [.., last], false) = (words.as_slice(), words.as_slice(), job.request.options.timestamps) {
        (start, end) = (first.start, last.end);
    }
    Segment {
        start,
        end,
        text,
        tokens,
        temperature: outcome.attempt.temperature,
        avg_logprob: outcome.quality.avg_logprob,
        compression_ratio: outcome.quality.compression_ratio,
        no_speech_prob: outcome.quality.no_speech_prob,
        words,
    }
}
