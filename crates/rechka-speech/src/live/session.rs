//! One speaker's stream as a state machine: samples in, finished segments out.
//!
//! ```text
//!            start: what was before is silence              end: all words are final    
//!   silence ───────────────────────────────────▶ speech ───────────────────────────────▶ silence
//!      │  ▲                                      │    ▲
//!      └──┘ every 30 s: a stretch of silence     └────┘ every tick: a hypothesis, a partial;
//!                                                       buffer full: a segment, speech goes on
//! ```
//!
//! No clock and no model inside: the machine walks along the audio in blocks counted from its *checkpoint* and stops where
//! it needs a hypothesis ([`Session::due`]) until it has one ([`Session::apply`]). So what it says is a function of the
//! audio and the hypotheses, however the audio was chunked and however long a hypothesis took.
//!
//! All of the machine but two things is in [`SessionState`]: the audio, and what the voice activity detector has heard.
//! The detector is reset at every checkpoint, so re-feeding the audio from there brings both back.
use std::{collections::VecDeque, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Config, Content, Output, VoiceActivity,
    policy::{Heard, OpenWords, Policy},
    tape::Tape,
    words::{append_prompt, join},
};
use crate::{
    audio::VadEvent,
    transcript::Word,
    whisper::{AlignAtt, Hypothesis, Options, Request},
};

/// Samples per second.
const RATE: f64 = 16_000.0;
/// Samples that the machine takes per step: 16 ms.
const BLOCK: u64 = 256;
/// Audio kept while nobody speaks, so that a beginning found late is still there: 1 s.
const RING: u64 = 16_000;
/// Silence is reported in stretches of at most this: 30 s.
const LONGEST_SILENCE: u64 = 30 * 16_000;

/// What of a session must survive a crash, besides its audio from [`SessionState::checkpoint`] on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// The sample from which audio must be fed again.
    pub checkpoint: u64,
    /// How far the machine has come.
    position: u64,
    /// All before this sample has been said.
    covered: u64,
    /// Number of the next segment.
    segment: u64,
    /// The language, once it is known.
    language: Option<String>,
    /// The end of the text said so far.
    prompt: String,
    /// The open segment, which begins at `covered`.
    speech: Option<Speech>,
    ended: bool,
}

impl SessionState {
    /// Whether the two differ at most in how far the machine has come without anything happening. Then either will do: the
    /// audio brings the difference back.
    pub fn same_but_for_position(&self, other: &SessionState) -> bool {
        self.checkpoint == other.checkpoint
            && self.segment == other.segment
            && self.covered == other.covered
            && self.ended == other.ended
            && self.speech == other.speech
            && self.language == other.language
            && self.prompt == other.prompt
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Speech {
    /// The language of the last hypothesis.
    language: String,
    next_tick: u64,
    /// Where the speech ended, when it did.
    end: Option<u64>,
    words: OpenWords,
    /// AlignAtt: the committed words, from which the decoder goes on.
    prefix: String,
}

/// The hypothesis that the machine waits for.
struct Due {
    range: Range<u64>,
    last: bool,
}

/// One speaker's stream.
pub struct Session<V> {
    config: Arc<Config>,
    /// For the next request: the configured ones with the session's language.
    options: Options,
    last_options: Options,
    detector: V,
    /// How far the detector has heard; behind the position after a checkpoint or a crash.
    detector_at: u64,
    speaking: bool,
    events: Vec<VadEvent>,
    state: SessionState,
    tape: Tape,
    complete: bool,
    outputs: VecDeque<Output>,
}

impl<V: VoiceActivity> Session<V> {
    /// A session at its first sample.
    pub fn new(config: Arc<Config>, detector: V) -> Self {
        Self::restore(config, detector, SessionState::default())
    }

    /// A session as it was, to be fed from sample [`SessionState::checkpoint`] on. It says nothing again.
    pub fn restore(config: Arc<Config>, mut detector: V, state: SessionState) -> Self {
        detector.reset(state.checkpoint);
        let mut session = Session {
            options: config.options.clone(),
            last_options: config.last_options.clone(),
            config,
            detector,
            detector_at: state.checkpoint,
            speaking: false,
            events: Vec::new(),
            tape: Tape::new(state.checkpoint),
            complete: false,
            state,
            outputs: VecDeque::new(),
        };
        for (options, last) in [(&mut session.options, false), (&mut session.last_options, true)] {
            options.word_times = true;
            options.align_att = match session.config.policy {
                Policy::LocalAgreement => None,
                Policy::AlignAtt => Some(AlignAtt::new(last)),
            };
        }
        session.set_language();
        session
    }

    /// What must survive a crash.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// The number of the sample that must come next.
    pub fn next_sample(&self) -> u64 {
        self.tape.next()
    }

    /// Samples held that the machine has not reached: what waits for hypotheses.
    pub fn backlog(&self) -> u64 {
        self.tape.next().saturating_sub(self.detector_at)
    }

    /// Samples held in memory.
    pub fn held(&self) -> usize {
        self.tape.held()
    }

    /// Whether [`Output::End`] has been said.
    pub fn ended(&self) -> bool {
        self.state.ended
    }

    /// Takes 16 kHz mono samples.
    pub fn push(&mut self, samples: &[f32]) {
        self.tape.push(samples);
        self.advance();
    }

    /// Says that `samples` samples are missing here.
    pub fn lose(&mut self, samples: u64, reason: impl Into<String>) {
        if samples > 0 {
            self.tape.lose(samples, reason.into());
            self.advance();
        }
    }

    /// Says that no more audio comes.
    pub fn finish(&mut self) {
        self.complete = true;
        self.advance();
    }

    /// The hypothesis that the machine needs before it goes on, if it needs one.
    pub fn due(&self) -> Option<Request<'_>> {
        let due = self.awaited()?;
        Some(Request {
            audio: self.tape.slice(due.range),
            prompt: &self.state.prompt,
            prefix: self.state.speech.as_ref().map_or("", |speech| &speech.prefix),
            options: if due.last { &self.last_options } else { &self.options },
        })
    }

    /// Whether what is due completes a segment.
    pub fn is_last_due(&self) -> bool {
        self.awaited().is_some_and(|due| due.last)
    }

    /// What it has to say.
    pub fn outputs(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.outputs.drain(..)
    }

    /// Takes the hypothesis for the request that was due.
    pub fn apply(&mut self, hypothesis: &Hypothesis) {
        let Some(Due { range, last }) = self.awaited() else {
            return;
        };
        let Some(mut speech) = self.state.speech.take() else {
            return;
        };
        let heard = place(hypothesis, &range);
        speech.words.update(self.config.policy, &heard, last);
        speech.language.clone_from(&hypothesis.language);
        let limit = if hypothesis.may_prompt() {
            self.config.prompt_characters
        } else {
            0
        };
        if last {
            self.say_words(range.end, speech.words.finish(), &speech.language, limit);
            self.check_in(range.end);
        } else {
            speech.next_tick += self.config.chunk();
            let bound = self.config.bound();
            if range.end - range.start > bound {
                self.cut(&mut speech, range.clone(), bound, &heard, limit);
            }
            if self.config.policy == Policy::AlignAtt {
                speech.prefix = join(speech.words.committed(), &speech.language);
            }
            self.say_partial(&speech, range.end);
            self.state.speech = Some(speech);
        }
        self.advance();
    }

    /// Takes it that no hypothesis can be had for the request that was due.
    pub fn failed(&mut self, reason: impl Into<String>) {
        let Some(Due { range, .. }) = self.awaited() else {
            return;
        };
        let Some(speech) = self.state.speech.take() else { return };
        let words = speech.words.committed().to_vec();
        if let Some(last) = words.last() {
            let until = sample(last.end).clamp(range.start, range.end);
            self.say_words(until, words, &speech.language, 0);
        }
        self.say(range.end, Content::Failed { reason: reason.into() });
        self.check_in(range.end);
        self.advance();
    }

    /// Walks on until a hypothesis is due or the audio is used up.
    fn advance(&mut self) {
        while !self.state.ended && self.awaited().is_none() {
            if self.detector_at < self.state.position {
                let until = self.state.position.min(self.detector_at + BLOCK);
                if self.tape.end() < until {
                    return;
                }
                self.listen(until);
                self.events.clear();
                if self.detector_at == self.state.position {
                    self.end_speech_that_was_cut_off();
                }
            } else if self.tape.end() >= self.state.position + BLOCK {
                self.step(self.state.position + BLOCK);
            } else if self.complete || self.tape.loss().is_some() {
                if self.tape.end() > self.state.position {
                    self.step(self.tape.end());
                } else {
                    self.reach_end();
                }
            } else {
                return;
            }
            self.forget();
        }
    }

    /// Lets the detector hear the audio up to `until`.
    fn listen(&mut self, until: u64) {
        self.events.clear();
        let block = self.tape.slice(self.detector_at..until);
        self.detector.push(block, &mut self.events);
        self.detector_at = until;
        for event in &self.events {
            self.speaking = matches!(event, VadEvent::SpeechStart { .. });
        }
    }

    /// One block further.
    fn step(&mut self, until: u64) {
        self.listen(until);
        self.state.position = until;
        for event in std::mem::take(&mut self.events) {
            match (event, &mut self.state.speech) {
                (VadEvent::SpeechStart { sample }, None) => self.open(sample.min(until)),
                (VadEvent::SpeechEnd { sample: end }, Some(speech)) if speech.end.is_none() => {
                    // The detector knows nothing of cuts: an end before the buffer means that speech is over by now.
                    let end = if end > self.state.covered {
                        end.min(until)
                    } else {
                        until
                    };
                    speech.end = Some(end);
                }
                _ => {}
            }
        }
        if self.state.speech.is_none() && until >= self.state.covered + LONGEST_SILENCE + RING {
            self.say_silence(self.state.covered + LONGEST_SILENCE);
            self.check_in(self.state.covered);
        }
    }

    /// Opens a segment.
    fn open(&mut self, start: u64) {
        let held = self.state.position.saturating_sub(RING + BLOCK);
        let start = start.max(self.state.covered).max(held);
        self.say_silence(start);
        self.state.speech = Some(Speech {
            language: self.state.language.clone().unwrap_or_default(),
            next_tick: start + self.config.chunk(),
            end: None,
            words: OpenWords::default(),
            prefix: String::new(),
        });
    }

    /// The audio ends here: at a loss, or for good.
    fn reach_end(&mut self) {
        let position = self.state.position;
        if let Some(speech) = &mut self.state.speech {
            speech.end = Some(position);
            return;
        }
        self.say_silence(position);
        if let Some((lost, reason)) = self.tape.loss() {
            let content = Content::Failed {
                reason: reason.to_owned(),
            };
            self.say(lost.end, content);
            self.tape.pass_loss();
            self.check_in(lost.end);
        } else {
            self.state.ended = true;
            self.outputs.push_back(Output::End {
                segment: self.state.segment,
                samples: position,
            });
        }
    }

    /// After a cut the detector begins anew, and may find that nobody speaks any more.
    fn end_speech_that_was_cut_off(&mut self) {
        if let Some(speech) = &mut self.state.speech
            && speech.end.is_none()
            && !self.speaking
        {
            speech.end = Some(self.state.position);
        }
    }

    fn awaited(&self) -> Option<Due> {
        let speech = self.state.speech.as_ref()?;
        if self.detector_at < self.state.position {
            return None;
        }
        let start = self.state.covered;
        match speech.end {
            Some(end) => Some(Due {
                range: start..end,
                last: true,
            }),
            None if speech.next_tick <= self.state.position => Some(Due {
                range: start..speech.next_tick,
                last: false,
            }),
            None => None,
        }
    }

    /// Ends the segment inside the buffer; speech goes on in the next one. The detector begins anew, but hears the ended
    /// segment again, so that it knows the noise by the time it comes to where it was.
    fn cut(&mut self, speech: &mut Speech, buffer: Range<u64>, keep: u64, heard: &Heard, limit: usize) {
        let at = speech
            .words
            .cut_point(seconds(buffer.start)..seconds(buffer.end), seconds(keep), heard);
        let at_sample = sample(at).clamp(buffer.start + 1, buffer.end);
        let earlier = self.state.covered;
        let done = speech.words.cut(at);
        self.say_words(at_sample, done, &speech.language, limit);
        self.state.checkpoint = earlier;
        self.reset_detector();
    }

    /// Makes `at` the checkpoint and goes on from there, with nobody speaking.
    fn check_in(&mut self, at: u64) {
        self.state.speech = None;
        self.state.checkpoint = at;
        self.state.position = at;
        self.reset_detector();
    }

    fn reset_detector(&mut self) {
        self.detector.reset(self.state.checkpoint);
        self.detector_at = self.state.checkpoint;
        self.speaking = false;
    }

    /// Says what the audio up to `end` is, if there is any.
    fn say(&mut self, end: u64, content: Content) {
        let range = self.state.covered..end;
        if !range.is_empty() {
            self.outputs.push_back(Output::Segment {
                segment: self.state.segment,
                range,
                content,
            });
            self.state.segment += 1;
            self.state.covered = end;
        }
    }

    fn say_silence(&mut self, end: u64) {
        while self.state.covered < end {
            self.say(end.min(self.state.covered + LONGEST_SILENCE), Content::Silence);
        }
    }

    /// Says a segment of speech; without words it was none. `limit` is the length of the prompt it may become part of.
    fn say_words(&mut self, end: u64, mut words: Vec<Word>, language: &str, limit: usize) {
        let bounds = (seconds(self.state.covered), seconds(end));
        for word in &mut words {
            word.start = word.start.clamp(bounds.0, bounds.1);
            word.end = word.end.clamp(bounds.0, bounds.1);
        }
        if limit == 0 {
            self.state.prompt.clear();
        }
        if words.is_empty() {
            return self.say_silence(end);
        }
        let text = join(&words, language);
        if limit > 0 {
            append_prompt(&mut self.state.prompt, &text, limit);
        }
        if self.state.language.is_none() && !language.is_empty() {
            self.state.language = Some(language.to_owned());
            self.set_language();
        }
        self.say(
            end,
            Content::Speech {
                text,
                language: language.to_owned(),
                words,
            },
        );
    }

    fn say_partial(&mut self, speech: &Speech, heard: u64) {
        let text = |words| join(words, &speech.language);
        self.outputs.push_back(Output::Partial {
            segment: self.state.segment,
            range: self.state.covered..heard,
            committed: text(speech.words.committed()),
            tentative: text(speech.words.tentative()),
        });
    }

    /// The language that the first words were in is the session's, unless one was asked for.
    fn set_language(&mut self) {
        for options in [&mut self.options, &mut self.last_options] {
            if options.language.is_none() {
                options.language.clone_from(&self.state.language);
            }
        }
    }

    /// Drops audio that nothing needs any more.
    fn forget(&mut self) {
        let ring = match self.state.speech {
            Some(_) => self.state.covered,
            None => self.state.covered.max(self.detector_at.saturating_sub(RING + BLOCK)),
        };
        self.tape.forget_before(ring.min(self.detector_at));
    }
}

/// A hypothesis for `range`, with times in the session: in order, inside the range, in whole milliseconds.
fn place(hypothesis: &Hypothesis, range: &Range<u64>) -> Heard {
    let bounds = (seconds(range.start), seconds(range.end));
    let at = |time: f64| (((bounds.0 + time) * 1000.0).round() / 1000.0).clamp(bounds.0, bounds.1);
    let mut heard = Heard::default();
    let mut earliest = bounds.0;
    for segment in &hypothesis.segments {
        heard.segment_ends.push(at(segment.end));
        for word in &segment.words {
            let start = at(word.start).max(earliest);
            let end = at(word.end).max(start);
            earliest = start;
            heard.words.push(Word {
                start,
                end,
                ..word.clone()
            });
        }
    }
    heard
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / RATE
}

fn sample(seconds: f64) -> u64 {
    (seconds * RATE).round() as u64
}

#[cfg(test)]
mod tests;
