//! Settings of a recogniser.
use std::{fmt, sync::Arc, time::Duration};

use rechka_log::Partition;
use rechka_speech::{
    audio::{PcmFormat, Vad, VadOptions},
    live::{self, Policy, VoiceActivity},
    whisper::Task,
};
use rechka_types::Provenance;

use super::record::Settings;

/// Makes voice activity detectors.
pub type NewDetector = Arc<dyn Fn() -> Box<dyn VoiceActivity> + Send + Sync>;

/// How a recogniser works.
#[derive(Clone)]
pub struct Config {
    /// The consumer group; recognisers of one group share the partitions.
    pub group: Arc<str>,
    /// Name of the model, for the transcripts' provenance.
    pub model: String,
    /// Version of its weights: the first 12 hexadecimal digits of their SHA-256.
    pub version: String,
    /// How each session recognises.
    pub live: live::Config,
    /// What tells speech from silence.
    pub detector: NewDetector,
    /// The format of records that don't say theirs.
    pub format: Option<PcmFormat>,
    /// Partitions of topics that don't exist yet.
    pub partitions: Partition,
    /// Sessions in memory at once. Others wait in the log until one is complete, or has had no audio for a while.
    pub max_sessions: usize,
    /// A session that had no audio for this long gives its room to one that waits.
    pub idle: Duration,
    /// Windows that the model gets at once.
    pub max_batch: usize,
    /// Seconds of audio of one session that may wait in memory; beyond, its partition is read no further.
    pub max_backlog: f64,
}

impl Config {
    /// The usual settings for a model.
    pub fn new(model: impl Into<String>, version: impl Into<String>, live: live::Config) -> Self {
        Config {
            group: "recogniser".into(),
            model: model.into(),
            version: version.into(),
            live,
            detector: Arc::new(|| Box::new(Vad::new(VadOptions::default()))),
            format: None,
            partitions: 4,
            max_sessions: 256,
            idle: Duration::from_secs(10),
            max_batch: 16,
            max_backlog: 20.0,
        }
    }

    /// How sessions with these settings recognise.
    pub(super) fn of(&self, settings: &Settings) -> live::Config {
        let mut live = self.live.clone();
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
        let live = &self.live;
        let policy = match live.policy {
            Policy::LocalAgreement => "local-agreement",
            Policy::AlignAtt => "align-att",
        };
        let task = if settings.translate { "translate" } else { "transcribe" };
        Provenance {
            model: self.model.clone(),
            version: self.version.clone(),
            parameters: format!(
                "policy={policy} task={task} min_chunk={} max_buffer={} prompt={} beam={}",
                live.min_chunk, live.max_buffer, live.prompt_characters, live.last_options.beam_size
            ),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("group", &self.group)
            .field("model", &self.model)
            .field("version", &self.version)
            .field("live", &self.live)
            .field("format", &self.format)
            .field("partitions", &self.partitions)
            .field("max_sessions", &self.max_sessions)
            .field("idle", &self.idle)
            .field("max_batch", &self.max_batch)
            .field("max_backlog", &self.max_backlog)
            .finish_non_exhaustive()
    }
}
