//! Tokens to words with times.
use std::ops::Range;

use super::languages::writes_spaces;
use crate::transcript::Word;
use crate::whisper::Tokenizer;

/// A word's text, spaces included, and which of the given tokens it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WordTokens {
    pub(super) text: String,
    pub(super) tokens: Range<usize>,
}

/// Punctuation that belongs to the word after it.
const OPENING: &str = "\"'“¿([{-";
/// Punctuation that belongs to the word before it.
const CLOSING: &str = "\"'.。,，!！?？:：”)]}、";
/// Where sentences end, and long silences hide in a word's time.
const SENTENCE_END: &str = ".。!！?？";
/// Groups text tokens into words. A tail that is not a whole character is held back: it is in no word.
pub(super) fn split(tokenizer: &Tokenizer, tokens: &[u32], language: &str) -> Vec<WordTokens> {
    let characters = split_characters(tokenizer, tokens);
    let words = if writes_spaces(language) {
        group_at_spaces(characters)
    } else {
        characters
    };
    merge_punctuation(words)
}

/// The smallest groups of tokens that are whole characters.
fn split_characters(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<WordTokens> {
    let mut groups = Vec::new();
    let mut bytes = Vec::new();
    let mut start = 0;
    for (index, &token) in tokens.iter().enumerate() {
        bytes.extend_from_slice(tokenizer.bytes(token).unwrap_or_default());
        let incomplete = std::str::from_utf8(&bytes).is_err_and(|error| error.error_len().is_none());
        if !incomplete {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            groups.push(WordTokens {
                text,
                tokens: start..index + 1,
            });
            bytes.clear();
            start = index + 1;
        }
    }
    groups
}

fn group_at_spaces(pieces: Vec<WordTokens>) -> Vec<WordTokens> {
    let mut words: Vec<WordTokens> = Vec::new();
    for piece in pieces {
        let trimmed = piece.text.trim();
        let punctuation = !trimmed.is_empty() && trimmed.chars().all(|c| c.is_ascii_punctuation());
        match words.last_mut() {
            // A lone space belongs to what follows it.
            Some(word) if word.text == " " || !(piece.text.starts_with(' ') || punctuation) => {
                word.text.push_str(&piece.text);
                word.tokens.end = piece.tokens.end;
            }
            _ => words.push(piece),
        }
    }
    words
}

fn merge_punctuation(words: Vec<WordTokens>) -> Vec<WordTokens> {
    let mut merged: Vec<WordTokens> = Vec::with_capacity(words.len());
    for word in words {
        let is_closing = !word.text.starts_with(' ') && is_any_of(&word.text, CLOSING);
        let after_opening = |previous: &WordTokens| {
            previous.text.starts_with(' ') && is_any_of(previous.text.trim(), OPENING) && !word.text.starts_with(' ')
        };
        match merged.last_mut() {
            Some(previous) if !previous.text.ends_with(' ') && (is_closing || after_opening(previous)) => {
                previous.text.push_str(&word.text);
                previous.tokens.end = word.tokens.end;
            }
            _ => merged.push(word),
        }
    }
    merged
}

fn is_any_of(text: &str, punctuation: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| punctuation.contains(c))
}

/// Words with times from the seconds at which tokens begin (one more than tokens: the last is the end of the text) and the
/// tokens' probabilities.
pub(super) fn timed(words: Vec<WordTokens>, begins: &[f64], probabilities: &[f32]) -> Vec<Word> {
    let mut timed: Vec<Word> = words
        .into_iter()
        .map(|word| {
            let probabilities = &probabilities[word.tokens.clone()];
            let count = probabilities.len().max(1) as f32;
            Word {
                word: word.text.trim().to_owned(),
                start: begins[word.tokens.start],
                end: begins[word.tokens.end].max(begins[word.tokens.start]),
                probability: probabilities.iter().sum::<f32>() / count,
            }
        })
        .filter(|word| !word.word.is_empty())
        .collect();
    cap_outliers(&mut timed);
    timed
}

/// The path through the attention begins with the audio and leaves no gaps, so the first word takes the silence before it and a
/// sentence's last word the pause after it. None of these is longer than twice the median (of 0.7 s at most).
fn cap_outliers(words: &mut [Word]) {
    let mut durations: Vec<f64> = words
        .iter()
        .map(|word| word.end - word.start)
        .filter(|&d| d > 0.0)
        .collect();
    if durations.is_empty() {
        return;
    }
    durations.sort_by(f64::total_cmp);
    let median = durations[durations.len() / 2].min(0.7);
    let longest = 2.0 * median;
    let ends_sentence = |word: &Word| word.word.ends_with(|c| SENTENCE_END.contains(c));
    for index in 0..words.len() {
        let begins = index == 0 || ends_sentence(&words[index - 1]);
        let word = &mut words[index];
        if word.end - word.start <= longest {
            continue;
        }
        if index > 0 && ends_sentence(word) {
            word.end = word.start + longest;
        } else if begins {
            word.start = word.end - longest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whisper::tokenizer::tests::bytes_only;

    fn texts(text: &str, language: &str) -> Vec<String> {
        let tokenizer = bytes_only();
        let tokens = tokenizer.encode(text);
        let words = split(&tokenizer, &tokens, language);
        let mut next = 0;
        for word in &words {
            assert_eq!(word.tokens.start, next, "words follow each other without gaps");
            next = word.tokens.end;
            assert_eq!(tokenizer.decode(&tokens[word.tokens.clone()]), word.text);
        }
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_begin_at_spaces() {
        assert_eq!(
            texts(" seven three oh five", "en"),
            [" seven", " three", " oh", " five"]
        );
        assert_eq!(texts("речка течёт", "ru"), ["речка", " течёт"]);
    }

    #[test]
    fn punctuation_goes_with_its_word() {
        assert_eq!(
            texts(" He said: \"Yes, (maybe).\"", "en"),
            [" He", " said:", " \"Yes,", " (maybe).\""]
        );
    }

    #[test]
    fn languages_without_spaces_split_into_characters() {
        assert_eq!(texts("小さな川。", "ja"), ["小", "さ", "な", "川。"]);
    }

    #[test]
    fn a_character_that_is_not_whole_yet_is_in_no_word() {
        let tokenizer = bytes_only();
        let tokens = tokenizer.encode(" a 川");
        let words = split(&tokenizer, &tokens[..tokens.len() - 1], "en");
        assert_eq!(
            words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(),
            [" a", " "]
        );
    }

    fn timed_words(texts: &[&str], begins: &[f64]) -> Vec<(f64, f64)> {
        let words = (0..).zip(texts).map(|(i, text)| WordTokens {
            text: (*text).to_owned(),
            tokens: i..i + 1,
        });
        let words = timed(words.collect(), begins, &vec![0.5; texts.len()]);
        words.into_iter().map(|word| (word.start, word.end)).collect()
    }

    #[test]
    fn a_word_lasts_until_the_next_one_begins() {
        assert_eq!(timed_words(&[" a", " b"], &[0.1, 0.3, 0.6]), [(0.1, 0.3), (0.3, 0.6)]);
    }

    #[test]
    fn silence_before_the_first_word_and_after_a_sentence_is_no_word() {
        let words = timed_words(&[" a", " b.", " c"], &[0.0, 3.0, 3.5, 4.0]);
        assert_eq!(words, [(2.0, 3.0), (3.0, 3.5), (3.5, 4.0)]);
        let words = timed_words(&[" a", " b.", " c"], &[0.0, 0.5, 3.5, 4.0]);
        assert_eq!(words, [(0.0, 0.5), (0.5, 1.5), (3.5, 4.0)]);
    }

    #[test]
    fn a_words_probability_is_the_mean_of_its_tokens() {
        let word = WordTokens {
            text: " ab".to_owned(),
            tokens: 0..2,
        };
        let words = timed(vec![word], &[0.0, 0.1, 0.2], &[0.5, 1.0]);
        assert_eq!((words[0].word.as_str(), words[0].probability), ("ab", 0.75));
    }
}
