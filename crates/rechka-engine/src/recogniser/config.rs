//! Settings of a recognition.
use std::{fmt, sync::Arc, time::Duration};

use rechka_log::Partition;
use rechka_speech::{
    audio::{Encoding, PcmFormat, Vad, VadOptions},
    live::{self, Policy, VoiceActivity},
    whisper::Task,
};
use rechka_sql::{
    Relation,
    plan::{SpeechTask, Transcribe},
};
use rechka_types::Provenance;

use super::{
    model::{LoadedModel, Models, NoModels},
    record::Settings,
    topics::Topics,
};
use crate::{EngineError, Result};

/// Makes voice activity detectors.
pub type NewDetector = Arc<dyn Fn() -> Box<dyn VoiceActivity> + Send + Sync>;

/// What speech is recognised with. The defaults suit one machine, but have no models.
#[derive(Clone)]
pub struct Speech {
    /// Where models come from.
    pub models: Arc<dyn Models>,
    /// What tells speech from silence.
    pub detector: NewDetector,
    /// Sessions in memory at once. Others wait in the log until one is complete, or has had no audio for a while.
    pub max_sessions: usize,
    /// A session that had no audio for this long gives its room to one that waits.
    pub idle: Duration,
    /// After so long without a record, records without key belong to another session.
    pub pause: Duration,
    /// Windows that the model gets at once.
    pub max_batch: usize,
    /// Seconds of audio of one session that may wait in memory; beyond, its partition is read no further.
    pub max_backlog: f64,
}

impl Default for Speech {
    fn default() -> Self {
        Speech {
            models: Arc::new(NoModels),
            detector: Arc::new(|| Box::new(Vad::new(VadOptions::default()))),
            max_sessions: 256,
            idle: Duration::from_secs(10),
            pause: Duration::from_secs(10),
            max_batch: 16,
            max_backlog: 20.0,
        }
    }
}

impl fmt::Debug for Speech {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Speech")
            .field("max_sessions", &self.max_sessions)
            .field("idle", &self.idle)
            .field("pause", &self.pause)
            .field("max_batch", &self.max_batch)
            .field("max_backlog", &self.max_backlog)
            .finish_non_exhaustive()
    }
}

/// How one stream of audio is recognised.
#[derive(Clone)]
pub(crate) struct Config {
    /// The query that it belongs to.
    pub query: Arc<str>,
    pub topics: Topics,
    /// Partitions of the audio topic.
    pub partitions: Partition,
    /// Name of the model, for the transcripts' provenance.
    pub name: Arc<str>,
    pub model: LoadedModel,
    /// The format of records that don't say theirs.
    pub format: Option<PcmFormat>,
    pub speech: Speech,
}

impl Config {
    /// Opens the model that is asked for.
    pub fn new(
        query: Arc<str>,
        transcribe: &Transcribe,
        audio: &Relation,
        topics: Topics,
        speech: Speech,
    ) -> Result<Self> {
        let opened = speech.models.open(&transcribe.model, transcribe.precision);
        let mut model = opened.map_err(|reason| EngineError::Model {
            model: transcribe.model.to_string(),
            reason,
        })?;
        for options in [&mut model.live.options, &mut model.live.last_options] {
            options.language = transcribe.language.as_deref().map(str::to_owned);
            options.task = match transcribe.task {
                SpeechTask::Transcribe => Task::Transcribe,
                SpeechTask::Translate => Task::Translate,
            };
        }
        Ok(Config {
            query,
            topics,
            partitions: audio.partitions,
            name: Arc::clone(&transcribe.model),
            model,
            format: format(audio)?,
            speech,
        })
    }

    /// How sessions with these settings recognise.
    pub(super) fn of(&self, settings: &Settings) -> live::Config {
        let mut live = self.model.live.clone();
        for options in [&mut live.options, &mut live.last_options] {
            if settings.language.is_some() {
                options.language.clone_from(&settings.language);
            }
            if settings.translate {
                options.task = Task::Translate;
            }
        }
        live
    }

    /// What to write beside what sessions with these settings recognise.
    pub(super) fn provenance(&self, settings: &Settings) -> Provenance {
        let live = self.of(settings);
        let policy = match live.policy {
            Policy::LocalAgreement => "local-agreement",
            Policy::AlignAtt => "align-att",
        };
        let task = match live.options.task {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        };
        Provenance {
            model: self.name.to_string(),
            version: self.model.version.clone(),
            parameters: format!(
                "policy={policy} task={task} min_chunk={} max_buffer={} prompt={} beam={}",
                live.min_chunk, live.max_buffer, live.prompt_characters, live.last_options.beam_size
            ),
        }
    }
}

/// What a stream's records are if they don't say it.
fn format(audio: &Relation) -> Result<Option<PcmFormat>> {
    let wrong = |error: &dyn fmt::Display| EngineError::Query(format!("the audio of {}: {error}", audio.name));
    let rechka_formats::Format::Audio(declared) = &audio.format else {
        return Err(wrong(&"it is none"));
    };
    let Some(pcm) = declared else { return Ok(None) };
    let encoding: Encoding = pcm.encoding.to_string().parse().map_err(|error| wrong(&error))?;
    let format = PcmFormat::new(encoding, pcm.rate, pcm.channels).map_err(|error| wrong(&error))?;
    Ok(Some(format))
}
