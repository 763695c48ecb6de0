//! Names of topics. Only characters that Kafka allows: `a-z A-Z 0-9 . _ -`.

/// Audio as it came, before recognition. Key: the session.
pub const AUDIO: &str = "audio-stream";
/// Final segments ([`crate::Transcript`]), written exactly once. Key: the session.
pub const TRANSCRIPTS: &str = "transcripts";
/// Captions that may still change ([`crate::Partial`]): superseded at once, kept shortly, outside transactions. Key: the session.
pub const PARTIALS: &str = "transcripts.partial";

/// The topic of records that could not be processed, with the reason.
pub fn dead(topic: &str) -> String {
    format!("{topic}.dead")
}
