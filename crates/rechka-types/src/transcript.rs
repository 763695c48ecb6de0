//! Records of recognised speech.
use serde::{Deserialize, Serialize};

/// What a stretch of a session turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Speech, with its text.
    Speech,
    /// No speech.
    Silence,
    /// Not recognised: `reason` says why; the audio went to the dead letters.
    Failed,
    /// The session is complete; `start` and `end` are its length.
    End,
}

/// A final segment. The segments of a session (of the newest revision) follow each other without gap:
/// every second of audio is speech, silence or failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The session.
    pub session: String,
    /// Number of the segment in its session, from 0.
    pub segment: u64,
    /// 0; a later recognition of the same segment counts up.
    pub revision: u32,
    /// What it is.
    pub kind: Kind,
    /// First second.
    pub start: f64,
    /// End in seconds, exclusive: the next segment's `start`.
    pub end: f64,
    /// The text; empty unless speech.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Language of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The words with times in the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What recognised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

/// A recognised word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word as written.
    pub word: String,
    /// Start in seconds in the session.
    pub start: f64,
    /// End in seconds in the session.
    pub end: f64,
    /// Probability, 0 to 1.
    pub probability: f32,
}

/// What recognised a segment, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the model.
    pub model: String,
    /// Version of its weights: the first 12 hexadecimal digits of their SHA-256.
    pub version: String,
    /// Policy and parameters, readable.
    pub parameters: String,
}

/// The open segment as it is understood now; the next one of the same session replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// The session.
    pub session: String,
    /// The segment that this will become.
    pub segment: u64,
    /// First second.
    pub start: f64,
    /// Seconds of the session heard so far.
    pub end: f64,
    /// The words that will not change any more.
    pub committed: String,
    /// What follows them, and may still change.
    pub tentative: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_written_without_empty_fields() {
        let silence = Transcript {
            session: "s".into(),
            segment: 3,
            revision: 0,
            kind: Kind::Silence,
            start: 1.5,
            end: 4.0,
            text: String::new(),
            language: None,
            words: vec![],
            reason: None,
            provenance: None,
        };
        let json = serde_json::to_string(&silence).unwrap();
        assert_eq!(
            json,
            r#"{"session":"s","segment":3,"revision":0,"kind":"silence","start":1.5,"end":4.0}"#
        );
        assert_eq!(serde_json::from_str::<Transcript>(&json).unwrap(), silence);
    }
}
