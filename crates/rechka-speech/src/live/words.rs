//! Words compared and joined.
use crate::transcript::Word;

/// Languages that are written without spaces between words, as Whisper has them.
const UNSPACED: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// What of a word counts when hypotheses are compared: neither case nor punctuation.
pub(super) fn key(word: &Word) -> String {
    let letters: String = word
        .word
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    if letters.is_empty() { word.word.clone() } else { letters }
}

/// Whether two words are the same but for case and punctuation.
pub(super) fn same(one: &Word, other: &Word) -> bool {
    key(one) == key(other)
}

/// Words as text.
pub(super) fn join(words: &[Word], language: &str) -> String {
    let space = if UNSPACED.contains(&language) { "" } else { " " };
    let words: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
    words.join(space)
}

/// Appends `text` to a prompt and keeps its last `limit` characters, from the beginning of a word if there is one.
pub(super) fn append_prompt(prompt: &mut String, text: &str, limit: usize) {
    if !prompt.is_empty() && !text.is_empty() {
        prompt.push(' ');
    }
    prompt.push_str(text);
    let excess = prompt.chars().count().saturating_sub(limit);
    if excess > 0 {
        let from = prompt.char_indices().nth(excess).map_or(prompt.len(), |(at, _)| at);
        let tail = &prompt[from..];
        let whole = if prompt[..from].ends_with(' ') {
            tail
        } else {
            tail.split_once(' ').map_or(tail, |(_, rest)| rest)
        };
        *prompt = whole.to_owned();
    }
}
