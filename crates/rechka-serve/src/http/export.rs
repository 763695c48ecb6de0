//! Text as files.
use std::fmt::Write;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
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
    let speech = segments
        .iter()
        .filter(|segment| segment.kind == Kind::Speech && !segment.text.trim().is_empty());
    let text = match format {
        Format::Srt => srt(speech),
        Format::Vtt => vtt(speech),
        Format::Txt => speech.fold(String::new(), |text, segment| text + segment.text.trim() + "\n"),
        // Strings, numbers and structs always have a JSON form.
        Format::Json => serde_json::to_string_pretty(segments).unwrap_or_default(),
    };
    let disposition = format!("attachment; filename=\"{}\"", file_name(summary, format.suffix()));
    let headers = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text).into_response()
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

fn srt<'a>(speech: impl Iterator<Item = &'a Transcript>) -> String {
    let mut text = String::new();
    for (number, segment) in speech.enumerate() {
        let (start, end) = (time(segment.start, ','), time(segment.end, ','));
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "{}\n{start} --> {end}\n{}\n\n",
            number + 1,
            one_line(&segment.text)
        );
    }
    text
}

fn vtt<'a>(speech: impl Iterator<Item = &'a Transcript>) -> String {
    let mut text = String::from("WEBVTT\n\n");
    for segment in speech {
        let (start, end) = (time(segment.start, '.'), time(segment.end, '.'));
        let escaped = one_line(&segment.text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = write!(text, "{start} --> {end}\n{escaped}\n\n");
    }
    text
}

/// An empty line would end the cue.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn time(seconds: f64, point: char) -> String {
    let milliseconds = (seconds.max(0.0) * 1000.0).round() as u64;
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{rest:03}")
}
