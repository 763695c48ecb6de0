//! What a session says as records.
use rechka_speech::live::{Content, Output};
use rechka_types::{Kind, Partial, Transcript, Word};

use super::{config::Config, record::Settings};

/// A partial; none for what is final.
pub(super) fn partial(session: &str, output: &Output) -> Option<Partial> {
    let Output::Partial {
        segment,
        range,
        committed,
        tentative,
    } = output
    else {
        return None;
    };
    Some(Partial {
        session: session.to_owned(),
        segment: *segment,
        start: seconds(range.start),
        end: seconds(range.end),
        committed: committed.clone(),
        tentative: tentative.clone(),
    })
}

/// A final segment, or the session's end; none for a partial.
pub(super) fn transcript(session: &str, output: Output, config: &Config, settings: &Settings) -> Option<Transcript> {
    let (segment, range, content) = match output {
        Output::Partial { .. } => return None,
        Output::Segment {
            segment,
            range,
            content,
        } => (segment, range, Some(content)),
        Output::End { segment, samples } => (segment, 0..samples, None),
    };
    let mut transcript = Transcript {
        session: session.to_owned(),
        segment,
        revision: 0,
        kind: Kind::End,
        start: seconds(range.start),
        end: seconds(range.end),
        text: String::new(),
        language: None,
        words: Vec::new(),
        reason: None,
        provenance: None,
    };
    match content {
        None => {}
        Some(Content::Silence) => transcript.kind = Kind::Silence,
        Some(Content::Failed { reason }) => {
            transcript.kind = Kind::Failed;
            transcript.reason = Some(reason);
        }
        Some(Content::Speech { text, language, words }) => {
            transcript.kind = Kind::Speech;
            transcript.text = text;
            transcript.language = Some(language);
            transcript.words = words.into_iter().map(word).collect();
            transcript.provenance = Some(config.provenance(settings));
        }
    }
    Some(transcript)
}

fn word(word: rechka_speech::Word) -> Word {
    let rechka_speech::Word {
        word,
        start,
        end,
        probability,
    } = word;
    Word {
        word,
        start,
        end,
        probability,
    }
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / 16_000.0
}
