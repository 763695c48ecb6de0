//! Recordings: audio with an end, recognised as fast as the machine can.
//!
//! Nobody waits for captions, so there are no ticks. Speech is gathered into windows as long as the model takes, cut where
//! it is quietest, and the windows are decoded in batches. Silence is never decoded.
use std::{ops::Range, path::Path};

use super::{VoiceActivity, config::Settings, tape::Tape, words::append_prompt};
use crate::{
    audio::VadEvent,
    transcript::Segment,
    whisper::{Hypothesis, Options, Request, WhisperError},
};

/// Samples per second.
const RATE: u64 = 16_000;
/// Speech that pauses for less than this stays in one window: 1 s.
const SHORT_PAUSE: u64 = RATE;
/// The quiet moment where long speech is cut: 100 ms.
const MOMENT: usize = RATE as usize / 10;
/// Audio kept before what is being heard: 2 s, more than a detector looks back.
const RING: u64 = 2 * RATE;

/// How a recording is recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingConfig {
    /// The model's window in seconds.
    pub window: f64,
    /// Windows that are decoded together.
    pub batch: usize,
    /// Characters of the text so far that are the next window's prompt. Above 0, windows are decoded one after another:
    /// each waits for the text before it.
    pub prompt_characters: usize,
    /// How to decode. Without a language, the first window's is that of the recording.
    pub options: Options,
}

impl RecordingConfig {
    /// The usual settings for a model with a window of `window` seconds: word times, eight windows at once, no prompt.
    pub fn new(window: f64) -> Self {
        let options = Options {
            word_times: true,
            ..Options::default()
        };
        RecordingConfig {
            window,
            batch: 8,
            prompt_characters: 0,
            options,
        }
    }

    /// The settings for the checkpoint in `folder`, whose window is `window` seconds. Its file `live.json`, if it has one,
    /// may say that the model hears shorter windows better.
    ///
    /// # Errors
    /// The file can't be read, or is not such a file.
    pub fn for_model(folder: &Path, window: f64) -> Result<Self, WhisperError> {
        let wanted = Settings::read(folder)?.window;
        Ok(RecordingConfig::new(wanted.map_or(window, |wanted| wanted.min(window))))
    }
}

/// A recording on its way through the model.
///
/// Push its samples, [finish](Recording::finish), and take the segments that each call gives. `recognise` is
/// [`Transcriber::transcribe`](crate::whisper::Transcriber::transcribe), or anything like it.
pub struct Recording<V> {
    config: RecordingConfig,
    detector: V,
    events: Vec<VadEvent>,
    tape: Tape,
    /// Where the speech began that goes on.
    speech: Option<u64>,
    /// Speech that is over, but may still grow by what follows soon.
    open: Option<Range<u64>>,
    /// Windows to decode.
    windows: Vec<Range<u64>>,
    prompt: String,
    language: Option<String>,
}

impl<V: VoiceActivity> Recording<V> {
    /// A recording at its first sample.
    pub fn new(config: RecordingConfig, mut detector: V) -> Self {
        detector.reset(0);
        let language = config.options.language.clone();
        Recording {
            config,
            detector,
            events: Vec::new(),
            tape: Tape::new(0),
            speech: None,
            open: None,
            windows: Vec::new(),
            prompt: String::new(),
            language,
        }
    }

    /// Seconds of audio that were pushed.
    pub fn duration(&self) -> f64 {
        seconds(self.tape.next())
    }

    /// The language, once it is known.
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    /// Takes 16 kHz mono samples; gives the segments that were recognised meanwhile, in order, with times in the recording.
    pub fn push<F>(&mut self, samples: &[f32], recognise: F) -> Result<Vec<Segment>, WhisperError>
    where
        F: FnMut(&[Request<'_>]) -> Vec<Result<Hypothesis, WhisperError>>,
    {
        self.tape.push(samples);
        self.detector.push(samples, &mut self.events);
        for event in std::mem::take(&mut self.events) {
            match event {
                VadEvent::SpeechStart { sample } => self.speech = Some(sample.max(self.covered())),
                VadEvent::SpeechEnd { sample } => {
                    if let Some(start) = self.speech.take() {
                        self.add(start..sample);
                    }
                }
                VadEvent::Silence { .. } => {}
            }
        }
        self.settle();
        let segments = self.decode(false, recognise)?;
        self.forget();
        Ok(segments)
    }

    /// Ends the recording; gives the rest of the segments.
    pub fn finish<F>(&mut self, recognise: F) -> Result<Vec<Segment>, WhisperError>
    where
        F: FnMut(&[Request<'_>]) -> Vec<Result<Hypothesis, WhisperError>>,
    {
        if let Some(start) = self.speech.take() {
            self.add(start..self.tape.next());
        }
        self.windows.extend(self.open.take());
        self.decode(true, recognise)
    }

    /// The longest window in samples.
    fn longest(&self) -> u64 {
        ((self.config.window * RATE as f64) as u64).max(RATE)
    }

    /// Where the last speech that is known ends.
    fn covered(&self) -> u64 {
        self.open
            .as_ref()
            .or(self.windows.last())
            .map_or(0, |window| window.end)
    }

    /// Speech that is over: the last window grows by it, or a new one begins.
    fn add(&mut self, speech: Range<u64>) {
        let speech = self.cut(speech);
        let longest = self.longest();
        match &mut self.open {
            Some(open) if speech.start < open.end + SHORT_PAUSE && speech.end - open.start <= longest => {
                open.end = speech.end;
            }
            _ => {
                self.windows.extend(self.open.take());
                self.open = Some(speech);
            }
        }
    }

    /// Closes windows that nothing can be added to.
    fn settle(&mut self) {
        let heard = self.tape.next();
        if let Some(start) = self.speech
            && heard - start > self.longest()
        {
            let rest = self.cut(start..heard);
            self.speech = Some(rest.start);
        }
        let next = self.speech.unwrap_or(heard.saturating_sub(RING));
        if self.open.as_ref().is_some_and(|open| next >= open.end + SHORT_PAUSE) {
            self.windows.extend(self.open.take());
        }
    }

    /// Cuts speech that is longer than a window where it is quietest; gives what remains.
    fn cut(&mut self, mut speech: Range<u64>) -> Range<u64> {
        let longest = self.longest();
        while speech.end - speech.start > longest {
            let from = speech.start + longest / 2;
            let audio = self.tape.slice(from..speech.start + longest);
            let power = |moment: &[f32]| moment.iter().map(|sample| sample * sample).sum::<f32>();
            let moments = audio.chunks_exact(MOMENT).map(power).enumerate();
            let quietest = moments.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(index, _)| index);
            let at = from + (quietest * MOMENT + MOMENT / 2) as u64;
            self.windows.extend(self.open.take());
            self.windows.push(speech.start..at);
            speech.start = at;
        }
        speech
    }

    /// Decodes full batches, or all windows.
    fn decode<F>(&mut self, all: bool, mut recognise: F) -> Result<Vec<Segment>, WhisperError>
    where
        F: FnMut(&[Request<'_>]) -> Vec<Result<Hypothesis, WhisperError>>,
    {
        let mut segments = Vec::new();
        loop {
            let alone = self.config.prompt_characters > 0 || self.language.is_none();
            let batch = if alone { 1 } else { self.config.batch.max(1) };
            let count = batch.min(self.windows.len());
            if count == 0 || (count < batch && !all) {
                return Ok(segments);
            }
            let options = Options {
                language: self.language.clone(),
                ..self.config.options.clone()
            };
            let request = |window: &Range<u64>| Request {
                audio: self.tape.slice(window.clone()),
                prompt: &self.prompt,
                prefix: "",
                options: &options,
            };
            let requests: Vec<Request<'_>> = self.windows[..count].iter().map(request).collect();
            let hypotheses = recognise(&requests);
            let windows: Vec<Range<u64>> = self.windows.drain(..count).collect();
            for (window, hypothesis) in windows.into_iter().zip(hypotheses) {
                self.take(&window, hypothesis?, &mut segments);
            }
        }
    }

    fn take(&mut self, window: &Range<u64>, hypothesis: Hypothesis, segments: &mut Vec<Segment>) {
        if !hypothesis.segments.is_empty() && self.language.is_none() {
            self.language = Some(hypothesis.language.clone());
        }
        if self.config.prompt_characters > 0 {
            if hypothesis.may_prompt() {
                append_prompt(&mut self.prompt, &hypothesis.text(), self.config.prompt_characters);
            } else {
                self.prompt.clear();
            }
        }
        let at = |time: f64| ((seconds(window.start) + time) * 1000.0).round() / 1000.0;
        for mut segment in hypothesis.segments {
            (segment.start, segment.end) = (at(segment.start), at(segment.end));
            for word in &mut segment.words {
                (word.start, word.end) = (at(word.start), at(word.end));
            }
            segments.push(segment);
        }
    }

    fn forget(&mut self) {
        let heard = self.tape.next().saturating_sub(RING);
        let window = self.windows.first().or(self.open.as_ref()).map(|window| window.start);
        self.tape
            .forget_before(heard.min(window.or(self.speech).unwrap_or(heard)));
    }
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / RATE as f64
}

#[cfg(test)]
mod tests;
