//! Text as files.
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use rechka_speech::{Segment, Word, text::Transcription, whisper::Task};
use rechka_types::{Kind, Transcript};

use crate::transcripts::Summary;

/// A format of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Srt,
    Vtt,
    Txt,
    Json,
}

impl Format {
    /// The format of a suffix.
    pub fn parse(suffix: &str) -> Option<Self> {
        match suffix {
            "srt" => Some(Format::Srt),
            "vtt" => Some(Format::Vtt),
            "txt" => Some(Format::Txt),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Format::Srt => "srt",
            Format::Vtt => "vtt",
            Format::Txt => "txt",
            Format::Json => "json",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::Srt => "application/x-subrip; charset=utf-8",
            Format::Vtt => "text/vtt; charset=utf-8",
            Format::Txt => "text/plain; charset=utf-8",
            Format::Json => "application/json",
        }
    }
}

/// A session's text as a file to keep.
pub(crate) fn download(format: Format, summary: &Summary, segments: &[Transcript]) -> Response {
    let text = match format {
        Format::Srt => transcription(summary, segments).to_srt(),
        Format::Vtt => transcription(summary, segments).to_vtt(),
        Format::Txt => transcription(summary, segments).to_txt(),
        // The records as they are, with their provenance. Strings, numbers and structs always have a JSON form.
        Format::Json => serde_json::to_string_pretty(segments).unwrap_or_default(),
    };
    let disposition = format!("attachment; filename=\"{}\"", file_name(summary, format.suffix()));
    let headers = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text).into_response()
}

/// The speech of a session, for writing subtitles: what a decoder would say beyond text and times is not in the log, nor in subtitles.
fn transcription(summary: &Summary, segments: &[Transcript]) -> Transcription {
    let speech = segments.iter().filter(|segment| segment.kind == Kind::Speech);
    let language = segments.iter().find_map(|segment| segment.language.clone());
    Transcription {
        task: Task::Transcribe,
        language: language.unwrap_or_default(),
        duration: summary.seconds,
        segments: speech.map(speech_segment).collect(),
    }
}

/// A final segment as subtitles are written of.
pub fn speech_segment(transcript: &Transcript) -> Segment {
    let words = transcript.words.iter().map(|word| Word {
        word: word.word.clone(),
        start: word.start,
        end: word.end,
        probability: word.probability,
    });
    Segment {
        start: transcript.start,
        end: transcript.end,
        text: transcript.text.clone(),
        tokens: Vec::new(),
        temperature: 0.0,
        avg_logprob: 0.0,
        compression_ratio: 0.0,
        no_speech_prob: 0.0,
        words: words.collect(),
    }
}

/// A name for a session's file: its title's, or its own, of harmless characters.
pub(crate) fn file_name(summary: &Summary, suffix: &str) -> String {
    let title = summary.name.as_deref().unwrap_or(&summary.session);
    let stem = title.rsplit_once('.').map_or(title, |(stem, _)| stem);
    let harmless = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    let stem: String = harmless.take(80).collect();
    format!("{}.{suffix}", if stem.is_empty() { "session" } else { &stem })
}
