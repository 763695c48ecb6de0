//! A whole transcript in the formats that people have readers for.
use super::subtitles::Subtitles;
use crate::whisper::{Task, language_name, writes_spaces};
use crate::{Segment, Word};
use serde::Serialize;

/// The text of a recording, and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcription {
    /// What was asked for.
    pub task: Task,
    /// The language that was spoken, as a code (`en`).
    pub language: String,
    /// The length of the recording in seconds.
    pub duration: f64,
    /// The text, in order.
    pub segments: Vec<Segment>,
}

impl Transcription {
    /// The whole text in one line.
    pub fn text(&self) -> String {
        let language = if self.task == Task::Translate {
            "en"
        } else {
            &self.language
        };
        let texts = self
            .segments
            .iter()
            .map(|segment| segment.text.trim())
            .filter(|text| !text.is_empty());
        texts
            .collect::<Vec<_>>()
            .join(if writes_spaces(language) { " " } else { "" })
    }

    /// Plain text, one line per segment.
    pub fn to_txt(&self) -> String {
        let lines = self
            .segments
            .iter()
            .map(|segment| segment.text.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
    }

    /// SubRip subtitles: captions of at most two lines of 42 characters.
    pub fn to_srt(&self) -> String {
        Subtitles::srt().whole(&self.segments)
    }

    /// WebVTT subtitles: captions of at most two lines of 42 characters.
    pub fn to_vtt(&self) -> String {
        Subtitles::vtt().whole(&self.segments)
    }

    /// OpenAI's `json`: the text, and what it is billed by.
    pub fn to_json(&self) -> String {
        json(&Json {
            text: self.text(),
            usage: Usage {
                r#type: "duration",
                seconds: self.duration,
            },
        })
    }

    /// OpenAI's `verbose_json` with segments and words.
    pub fn to_verbose_json(&self) -> String {
        let segments = self.segments.iter().enumerate();
        json(&VerboseJson {
            task: match self.task {
                Task::Transcribe => "transcribe",
                Task::Translate => "translate",
            },
            language: language_name(&self.language),
            duration: self.duration,
            text: self.text(),
            segments: segments.map(|(id, segment)| VerboseSegment::new(id, segment)).collect(),
            words: self
                .segments
                .iter()
                .flat_map(|segment| &segment.words)
                .map(VerboseWord::new)
                .collect(),
        })
    }

    /// One JSON object per line and segment, with all that is known of it.
    pub fn to_jsonl(&self) -> String {
        self.segments.iter().map(json).collect()
    }
}

/// A line of JSON.
fn json(value: &impl Serialize) -> String {
    // What is serialised here has string keys and no serialisers of its own: that always succeeds.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Json {
    text: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Usage {
    r#type: &'static str,
    seconds: f64,
}

#[derive(Serialize)]
struct VerboseJson<'a> {
    task: &'static str,
    language: &'a str,
    duration: f64,
    text: String,
    segments: Vec<VerboseSegment<'a>>,
    words: Vec<VerboseWord<'a>>,
}

#[derive(Serialize)]
struct VerboseSegment<'a> {
    id: usize,
    /// Where the segment was looked for, in hundredths of a second.
    seek: u64,
    start: f64,
    end: f64,
    text: &'a str,
    tokens: &'a [u32],
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

impl<'a> VerboseSegment<'a> {
    fn new(id: usize, segment: &'a Segment) -> Self {
        VerboseSegment {
            id,
            seek: (segment.start * 100.0) as u64,
            start: segment.start,
            end: segment.end,
            text: &segment.text,
            tokens: &segment.tokens,
            temperature: segment.temperature,
            avg_logprob: segment.avg_logprob,
            compression_ratio: segment.compression_ratio,
            no_speech_prob: segment.no_speech_prob,
        }
    }
}

#[derive(Serialize)]
struct VerboseWord<'a> {
    word: &'a str,
    start: f64,
    end: f64,
}

impl<'a> VerboseWord<'a> {
    fn new(word: &'a Word) -> Self {
        VerboseWord {
            word: &word.word,
            start: word.start,
            end: word.end,
        }
    }
}

/// A segment for tests.
#[cfg(test)]
pub(super) fn test_segment(text: &str, start: f64, end: f64) -> Segment {
    Segment {
        start,
        end,
        text: text.into(),
        tokens: vec![7],
        temperature: 0.0,
        avg_logprob: -0.25,
        compression_ratio: 1.5,
        no_speech_prob: 0.125,
        words: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcription() -> Transcription {
        let words = vec![Word {
            word: "Seven".into(),
            start: 1.0,
            end: 1.5,
            probability: 0.5,
        }];
        let segments = vec![
            Segment {
                words,
                ..test_segment(" Seven", 1.0, 1.5)
            },
            test_segment(" three\n five.", 2.0, 3.0),
        ];
        Transcription {
            task: Task::Transcribe,
            language: "en".into(),
            duration: 3.5,
            segments,
        }
    }

    #[test]
    fn verbose_json_is_what_openai_sends() {
        let json: serde_json::Value = serde_json::from_str(&transcription().to_verbose_json()).unwrap();
        let segment = |id, seek, start, end, text| {
            serde_json::json!({
                "id": id, "seek": seek, "start": start, "end": end, "text": text, "tokens": [7], "temperature": 0.0,
                "avg_logprob": -0.25, "compression_ratio": 1.5, "no_speech_prob": 0.125,
            })
        };
        let expected = serde_json::json!({
            "task": "transcribe", "language": "english", "duration": 3.5, "text": "Seven three\n five.",
            "segments": [segment(0, 100, 1.0, 1.5, " Seven"), segment(1, 200, 2.0, 3.0, " three\n five.")],
            "words": [{"word": "Seven", "start": 1.0, "end": 1.5}],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn json_is_the_text_and_its_length() {
        let json = transcription().to_json();
        assert_eq!(
            json,
            "{\"text\":\"Seven three\\n five.\",\"usage\":{\"type\":\"duration\",\"seconds\":3.5}}\n"
        );
    }

    #[test]
    fn every_line_of_jsonl_is_a_segment() {
        let transcription = transcription();
        let jsonl = transcription.to_jsonl();
        let read: Vec<Segment> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, transcription.segments);
    }

    #[test]
    fn plain_text_has_a_line_per_segment() {
        assert_eq!(transcription().to_txt(), "Seven\nthree five.\n");
    }

    #[test]
    fn languages_without_spaces_are_joined_without() {
        let mut transcription = Transcription {
            language: "ja".into(),
            ..transcription()
        };
        assert_eq!(transcription.text(), "Seventhree\n five.");
        transcription.task = Task::Translate;
        assert_eq!(transcription.text(), "Seven three\n five.");
    }

    #[test]
    fn nothing_is_nothing_in_every_format() {
        let nothing = Transcription {
            segments: Vec::new(),
            ..transcription()
        };
        assert_eq!(
            (nothing.to_txt(), nothing.to_srt(), nothing.to_jsonl()),
            Default::default()
        );
        assert_eq!(nothing.to_vtt(), "WEBVTT\n\n");
    }
}
