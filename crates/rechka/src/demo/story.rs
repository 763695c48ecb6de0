//! The story of digits that the demo speaks: sound, words and their times (made by `story/make_story.py`).
use rechka_speech::audio::{AudioError, AudioFile};
use serde::Deserialize;

/// The sound: FLAC, 16 kHz mono.
const SOUND: &[u8] = include_bytes!("../../story/story.flac");

const WORDS: &str = include_str!("../../story/story.json");

/// A word of the story.
#[derive(Clone, Debug, Deserialize)]
pub struct Spoken {
    /// The word.
    pub word: String,
    /// Its first second in the sound.
    #[cfg_attr(not(test), expect(dead_code, reason = "told for people who look at the file"))]
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
}

/// The samples: 16 kHz mono.
pub fn samples() -> Result<Vec<i16>, AudioError> {
    let mut samples = Vec::new();
    for chunk in AudioFile::from_bytes(SOUND)? {
        samples.extend(
            chunk?
                .iter()
                .map(|sample| (sample * f32::from(i16::MAX)).round() as i16),
        );
    }
    Ok(samples)
}

/// The words, in order.
pub fn words() -> serde_json::Result<Vec<Spoken>> {
    serde_json::from_str(WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_each_other() {
        let words = words().unwrap();
        assert_eq!(words.len(), 41);
        assert!(words.iter().all(|word| word.start < word.end));
        assert!(words.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}
