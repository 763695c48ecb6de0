//! Transcripts as text that people read.
use anyhow::{Context, Result};
use rechka_serve::speech_segment;
use rechka_speech::text::Subtitles;
use rechka_types::{Kind, Transcript};

use crate::cli::RecordFormat;

/// Writes transcripts as they come.
pub struct TextWriter {
    /// None: plain lines.
    subtitles: Option<Subtitles>,
    /// Whether it is written who speaks.
    named: bool,
}

impl TextWriter {
    /// None for formats of records.
    pub fn new(format: RecordFormat, named: bool) -> Option<Self> {
        let subtitles = match format {
            RecordFormat::Value | RecordFormat::Json => return None,
            RecordFormat::Txt => None,
            RecordFormat::Srt => Some(Subtitles::srt()),
            RecordFormat::Vtt => Some(Subtitles::vtt()),
        };
        Some(Self { subtitles, named })
    }

    /// What stands before everything else.
    pub fn head(&self) -> &'static str {
        self.subtitles.as_ref().map_or("", Subtitles::head)
    }

    /// What is written of a record; nothing of silence.
    pub fn write(&mut self, record: &[u8]) -> Result<String> {
        let transcript: Transcript = serde_json::from_slice(record).context("this is no transcript")?;
        let name = if self.named { transcript.session.as_str() } else { "" };
        let text = match (transcript.kind, &mut self.subtitles) {
            (Kind::Speech, Some(subtitles)) => subtitles.add(name, &speech_segment(&transcript)),
            (Kind::Speech, None) => {
                let colon = if name.is_empty() { "" } else { ": " };
                let words: Vec<&str> = transcript.text.split_whitespace().collect();
                format!("{name}{colon}{}\n", words.join(" "))
            }
            (Kind::End, Some(subtitles)) => {
                subtitles.end(name);
                String::new()
            }
            (Kind::Silence | Kind::Failed | Kind::End, _) => String::new(),
        };
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [&str; 4] = [
        r#"{"session":"anna","segment":0,"revision":0,"kind":"silence","start":0,"end":1}"#,
        r#"{"session":"anna","segment":1,"revision":0,"kind":"speech","start":1,"end":2,"text":" one two"}"#,
        r#"{"session":"boris","segment":0,"revision":0,"kind":"speech","start":0,"end":1,"text":"three"}"#,
        r#"{"session":"anna","segment":2,"revision":0,"kind":"end","start":0,"end":2}"#,
    ];

    fn written(format: RecordFormat, named: bool) -> String {
        let mut writer = TextWriter::new(format, named).unwrap();
        let texts = RECORDS.iter().map(|record| writer.write(record.as_bytes()).unwrap());
        let texts: String = texts.collect();
        writer.head().to_owned() + &texts
    }

    #[test]
    fn transcripts_are_written_as_people_read_them() {
        assert_eq!(written(RecordFormat::Txt, false), "one two\nthree\n");
        assert_eq!(written(RecordFormat::Txt, true), "anna: one two\nboris: three\n");
        assert_eq!(
            written(RecordFormat::Srt, true),
            "1\n00:00:01,000 --> 00:00:02,000\nanna: one two\n\n2\n00:00:00,000 --> 00:00:01,000\nboris: three\n\n"
        );
        assert!(
            written(RecordFormat::Vtt, true).starts_with("WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v anna>one two\n")
        );
    }

    #[test]
    fn what_is_no_transcript_is_said_to_be_none() {
        let mut writer = TextWriter::new(RecordFormat::Txt, true).unwrap();
        assert!(writer.write(b"{}").unwrap_err().to_string().contains("no transcript"));
        assert!(TextWriter::new(RecordFormat::Json, true).is_none());
    }
}
