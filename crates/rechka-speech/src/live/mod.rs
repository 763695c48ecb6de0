//! Live recognition: sessions and streaming policies.
//!
//! A [`Session`] is one speaker's stream: it cuts speech out of silence, says when audio must be decoded, and decides which
//! words are final. It calls no model: the caller decodes what is [due](Session::due), for many sessions in one batch.
//! A [`Recording`] is audio with an end, for which nobody waits: speech is decoded in windows as long as the model takes.
mod config;
mod output;
mod policy;
mod recording;
#[cfg(test)]
mod script;
mod session;
mod tape;
mod words;

use crate::audio::{Vad, VadEvent};

pub use config::Config;
pub use output::{Content, Output};
pub use policy::Policy;
pub use recording::{Recording, RecordingConfig};
pub use session::{Session, SessionState};

/// Where speech begins and ends in a stream of 16 kHz samples: [`Vad`], or a script in tests.
///
/// The events since a reset are a function of the samples since then, not of how they were chunked.
pub trait VoiceActivity: Send {
    /// Forgets everything; the next sample is number `at` of the session.
    fn reset(&mut self, at: u64);
    /// Hears samples and appends what happened.
    fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>);
}

impl VoiceActivity for Vad {
    fn reset(&mut self, at: u64) {
        Vad::reset(self, at);
    }

    fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>) {
        Vad::push(self, samples, events);
    }
}

impl VoiceActivity for Box<dyn VoiceActivity> {
    fn reset(&mut self, at: u64) {
        (**self).reset(at);
    }

    fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>) {
        (**self).push(samples, events);
    }
}
