use std::{fmt, sync::Arc};

/// How speech is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcribe {
    /// The model: a name or a folder.
    pub model: Arc<str>,
    /// Arithmetic of its linear layers.
    pub precision: Precision,
    /// Language of speech that does not say its own; `None` detects it.
    pub language: Option<Arc<str>>,
    /// What becomes of speech that does not say it itself.
    pub task: SpeechTask,
}

/// Arithmetic of a model's linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 8-bit integers.
    #[default]
    Int8,
    /// 32-bit floats.
    F32,
}

/// What becomes of speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpeechTask {
    /// Text in the language spoken.
    #[default]
    Transcribe,
    /// English text.
    Translate,
}

impl fmt::Display for Transcribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = match self.task {
            SpeechTask::Transcribe => "transcribe",
            SpeechTask::Translate => "translate",
        };
        let precision = match self.precision {
            Precision::Int8 => "int8",
            Precision::F32 => "f32",
        };
        write!(f, "{task} with model {} ({precision}), ", self.model)?;
        match &self.language {
            Some(language) => write!(f, "language {language}"),
            None => f.write_str("language detected"),
        }
    }
}
