//! What the demo says at its end.
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rechka_speech::{
    Segment, Word,
    text::{Transcription, WordErrors},
    whisper::Task,
};
use rechka_types::{Kind, Transcript};

use super::{measures::Measures, story::Spoken};

/// Figures, and where the subtitles are.
pub struct Report {
    subtitles: PathBuf,
    errors: WordErrors,
    shown: [f64; 2],
    finals: [f64; 2],
}

impl Report {
    /// Writes the subtitles into `folder`, and adds up.
    pub fn new(folder: &Path, transcripts: &[Transcript], spoken: &[Spoken], measures: &Measures) -> Result<Self> {
        let speech = || transcripts.iter().filter(|transcript| transcript.kind == Kind::Speech);
        let transcription = Transcription {
            task: Task::Transcribe,
            language: speech()
                .find_map(|transcript| transcript.language.clone())
                .unwrap_or_else(|| "en".into()),
            duration: transcripts.last().map_or(0.0, |last| last.end),
            segments: speech().map(segment).collect(),
        };
        let subtitles = folder.join("story.srt");
        fs::write(&subtitles, transcription.to_srt()).with_context(|| format!("writing {}", subtitles.display()))?;
        let said: Vec<&str> = spoken.iter().map(|word| word.word.as_str()).collect();
        let (shown, finals) = measures.percentiles();
        Ok(Self {
            subtitles,
            errors: WordErrors::compare(&said.join(" "), &transcription.text()),
            shown,
            finals,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subtitles,
            errors,
            shown,
            finals,
        } = self;
        writeln!(f, "{:<28}{}", "subtitles", subtitles.display())?;
        let (wrong, words) = (errors.errors(), errors.words);
        writeln!(
            f,
            "{:<28}{:.1} %  ({wrong} of {words} words)",
            "word error",
            100.0 * errors.rate()
        )?;
        writeln!(
            f,
            "{:<28}p50 {:.2} s, p95 {:.2} s  after the word's end",
            "a word is shown", shown[0], shown[1]
        )?;
        write!(
            f,
            "{:<28}p50 {:.2} s, p95 {:.2} s  after the last word's end",
            "a segment is final", finals[0], finals[1]
        )
    }
}

fn segment(transcript: &Transcript) -> Segment {
    let words: Vec<Word> = transcript
        .words
        .iter()
        .map(|word| Word {
            word: word.word.clone(),
            start: word.start,
            end: word.end,
            probability: word.probability,
        })
        .collect();
    Segment {
        // Subtitles appear with the first word, not with the silence around it.
        start: words.first().map_or(transcript.start, |word| word.start),
        end: words.last().map_or(transcript.end, |word| word.end),
        text: transcript.text.clone(),
        tokens: Vec::new(),
        temperature: 0.0,
        avg_logprob: 0.0,
        compression_ratio: 0.0,
        no_speech_prob: 0.0,
        words,
    }
}
