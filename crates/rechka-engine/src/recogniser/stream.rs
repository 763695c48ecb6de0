//! One session's records to its samples, and what it says to moments of the log.
use std::{collections::VecDeque, sync::Arc};

use rechka_log::Offset;
use rechka_speech::{
    audio::{PcmFormat, PcmStream},
    live::{self, Output, Session, VoiceActivity},
};

use super::{
    record::{Audio, End, Settings},
    stored::{Origin, Stored},
};

/// Samples per second of a session.
const RATE: u128 = 16_000;
/// The most audio that may be missing at once: a day. More is a mistake in the frame's number.
const LONGEST_GAP_SECONDS: u64 = 86_400;

/// A session in memory.
pub(super) struct Stream {
    session: Session<Box<dyn VoiceActivity>>,
    settings: Settings,
    keyless: bool,
    /// None before the first audio and after the last.
    decoder: Option<PcmStream>,
    format: Option<PcmFormat>,
    origin: Origin,
    /// The number of the frame that comes next.
    next_frame: u64,
    /// The number of the first frame of the record that is read next, if it does not say it itself: one that is read again begins earlier.
    read_frame: u64,
    /// Where its audio must be read again from while there is no mark, and the first frame there.
    replay: Offset,
    replay_frame: u64,
    taken: Offset,
    complete: bool,
    /// The records from the checkpoint on, oldest first.
    marks: VecDeque<Mark>,
    samples: Vec<f32>,
}

/// A record that was taken.
struct Mark {
    offset: Offset,
    timestamp: i64,
    origin: Origin,
    /// Its first frame.
    first: u64,
    /// Its first frame that was new.
    frame: u64,
}

impl Stream {
    /// A session as it was stored; its records from [`Stored::replay`] on must be taken again.
    pub fn restore(config: Arc<live::Config>, detector: Box<dyn VoiceActivity>, stored: &Stored) -> Self {
        let mut stream = Stream {
            session: Session::restore(config, detector, stored.session.clone()),
            settings: stored.settings.clone(),
            keyless: stored.keyless,
            decoder: None,
            format: stored.format,
            origin: stored.origin,
            next_frame: stored.origin.frame,
            read_frame: stored.replay_frame,
            replay: stored.replay,
            replay_frame: stored.replay_frame,
            taken: stored.taken,
            complete: false,
            marks: VecDeque::new(),
            samples: Vec::new(),
        };
        if let Some(format) = stored.format {
            stream.open_decoder(format, stored.session.checkpoint.saturating_sub(stored.origin.sample));
        }
        stream
    }

    /// What must be stored of it.
    pub fn stored(&self) -> Stored {
        let mark = self.marks.front();
        Stored {
            replay: mark.map_or(self.replay, |mark| mark.offset),
            replay_frame: mark.map_or(self.replay_frame, |mark| mark.first),
            taken: self.taken,
            origin: mark.map_or(self.origin, |mark| mark.origin),
            format: self.format,
            settings: self.settings.clone(),
            keyless: self.keyless,
            session: self.session.state().clone(),
        }
    }

    /// The session.
    pub fn session(&self) -> &Session<Box<dyn VoiceActivity>> {
        &self.session
    }

    /// The session.
    pub fn session_mut(&mut self) -> &mut Session<Box<dyn VoiceActivity>> {
        &mut self.session
    }

    /// Takes the audio of the record at `offset`, or says why it can't be. What was taken before is skipped, what is
    /// missing is reported as lost. An error that was given before is not given again.
    pub fn audio(&mut self, offset: Offset, timestamp: i64, audio: &Audio<'_>) -> Result<(), String> {
        let taken = self.take(offset, timestamp, audio);
        let again = offset < self.taken;
        self.taken = self.taken.max(offset + 1);
        if again { Ok(()) } else { taken }
    }

    /// Takes it that the session is complete. What is missing at its end is reported as lost.
    pub fn end(&mut self, offset: Offset, timestamp: i64, end: &End) {
        if !self.complete {
            self.format = self.format.or(end.format);
            if let Some(frames) = end.frames
                && frames > self.next_frame
                && !self.is_beyond_belief(frames)
            {
                self.skip(frames);
            }
            self.mark(offset, timestamp, self.read_frame);
            self.finish(timestamp);
        }
        self.taken = self.taken.max(offset + 1);
    }

    /// Takes it that nothing more comes. `now`: when that is, if it never had audio.
    pub fn finish(&mut self, now: i64) {
        if self.complete {
            return;
        }
        if self.marks.is_empty() {
            self.mark(self.taken, now, self.read_frame);
        }
        self.finish_decoder();
        self.complete = true;
        self.session.finish();
    }

    /// What it has to say, each with the timestamp of the record with whose audio it ends.
    pub fn outputs(&mut self) -> Vec<(Output, i64)> {
        let outputs: Vec<Output> = self.session.outputs().collect();
        let outputs = outputs.into_iter().map(|output| {
            let end = match &output {
                Output::Partial { range, .. } | Output::Segment { range, .. } => range.end,
                Output::End { .. } => u64::MAX,
            };
            let timestamp = self.timestamp(end);
            (output, timestamp)
        });
        let outputs = outputs.collect();
        self.drop_marks();
        outputs
    }

    fn take(&mut self, offset: Offset, timestamp: i64, audio: &Audio<'_>) -> Result<(), String> {
        if self.complete {
            return Err("the session is complete: begin another one under another key".into());
        }
        let format = *self.format.get_or_insert(audio.format);
        if format != audio.format {
            return Err(
                "the format differs from the session's first record: begin another session to change it".into(),
            );
        }
        let frames = (audio.bytes.len() / format.frame_bytes()) as u64;
        let first = audio.frame.unwrap_or(self.read_frame);
        if self.is_beyond_belief(first) {
            return Err(format!(
                "frame {first} is more than a day after frame {}, which comes next: frames count from the session's start",
                self.next_frame
            ));
        }
        self.read_frame = first.saturating_add(frames);
        let known = self.next_frame.saturating_sub(first);
        if known >= frames {
            return Ok(());
        }
        if first > self.next_frame {
            self.skip(first);
        }
        self.mark(offset, timestamp, first);
        if self.decoder.is_none() {
            self.open_decoder(format, 0);
        }
        let known_bytes = known as usize * format.frame_bytes();
        self.samples.clear();
        if let Some(decoder) = &mut self.decoder {
            decoder.push(&audio.bytes[known_bytes..], &mut self.samples);
        }
        self.next_frame = first + frames;
        self.session.push(&self.samples);
        Ok(())
    }

    /// Whether more seems to be missing before frame `frame` than can be.
    fn is_beyond_belief(&self, frame: u64) -> bool {
        let rate = self.format.map_or(0, |format| format.rate());
        frame.saturating_sub(self.next_frame) > LONGEST_GAP_SECONDS * u64::from(rate)
    }

    /// The audio up to frame `frame` is missing.
    fn skip(&mut self, frame: u64) {
        self.finish_decoder();
        let Some(format) = self.format else { return };
        let sample = (u128::from(frame) * RATE / u128::from(format.rate())) as u64;
        let next = self.session.next_sample();
        let sample = sample.max(next);
        let reason = format!("frames {} to {frame} did not arrive", self.next_frame);
        self.session.lose(sample - next, reason);
        self.origin = Origin { frame, sample };
        self.next_frame = frame;
    }

    /// Begins decoding so that the first sample is number `sample` after the origin.
    fn open_decoder(&mut self, format: PcmFormat, sample: u64) {
        // The format was checked when it was made.
        if let Ok(decoder) = PcmStream::resume(format, sample) {
            self.next_frame = self.origin.frame + decoder.next_frame();
            self.decoder = Some(decoder);
        }
    }

    fn finish_decoder(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.samples.clear();
            decoder.finish(&mut self.samples);
            self.session.push(&self.samples);
        }
    }

    fn mark(&mut self, offset: Offset, timestamp: i64, first: u64) {
        let (origin, frame) = (self.origin, self.next_frame);
        self.marks.push_back(Mark {
            offset,
            timestamp,
            origin,
            first,
            frame,
        });
    }

    /// The timestamp of the record that holds the last sample before `end`.
    fn timestamp(&self, end: u64) -> i64 {
        let Some(format) = self.format else {
            return self.marks.back().map_or(0, |mark| mark.timestamp);
        };
        let before = |mark: &&Mark| {
            let frames = mark.frame - mark.origin.frame;
            let sample = u128::from(mark.origin.sample) + u128::from(frames) * RATE / u128::from(format.rate());
            sample < u128::from(end)
        };
        let mark = self.marks.iter().rev().find(before).or(self.marks.front());
        mark.map_or(0, |mark| mark.timestamp)
    }

    /// Forgets the records before the one from which the checkpoint's audio must be read again.
    fn drop_marks(&mut self) {
        let Some(format) = self.format else { return };
        let checkpoint = self.session.state().checkpoint;
        let holds = |mark: &Mark| {
            checkpoint >= mark.origin.sample
                && PcmStream::restart_frame(format, checkpoint - mark.origin.sample)
                    .is_ok_and(|frame| mark.frame <= mark.origin.frame + frame)
        };
        while self.marks.get(1).is_some_and(holds) {
            self.marks.pop_front();
        }
    }
}
