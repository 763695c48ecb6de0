//! Byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", §2.2), read from a
//! checkpoint's `tokenizer.json`, or from `vocab.json` and `merges.txt` where a fine-tuned checkpoint has only those.
//!
//! Recognition mostly decodes; only prompts are encoded. That is all of a tokenizer that Whisper needs, and it fits
//! one file, where the general `tokenizers` crate brings some eighty others.
use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use unicode_general_category::{GeneralCategory as Category, get_general_category};

use super::WhisperError;

/// No published vocabulary has a tenth of this; it bounds what a hostile file can make us allocate.
const MAX_TOKENS: u32 = 1_000_000;

/// Text to tokens and back.
#[derive(Debug)]
pub struct Tokenizer {
    /// The bytes of every text token; `None` for special tokens and holes.
    bytes: Vec<Option<Box<[u8]>>>,
    single: Box<[Option<u32>; 256]>,
    /// What two neighbouring tokens merge to, with the merge's rank: the lowest goes first.
    merges: HashMap<(u32, u32), (u32, u32)>,
    special: HashMap<String, u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of the checkpoint in `dir`.
    ///
    /// # Errors
    /// The files are missing, are not JSON, or do not describe a byte-level BPE vocabulary.
    pub fn load(dir: &Path) -> Result<Self, WhisperError> {
        let path = dir.join("tokenizer.json");
        let file = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|e| WhisperError::invalid(&path, e))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir.join("vocab.json").exists() => {
                separate_files(dir)?
            }
            Err(error) => return Err(WhisperError::read(&path, error)),
        };
        Self::from_file(file).map_err(|reason| WhisperError::invalid(&path, reason))
    }

    fn from_file(file: TokenizerFile) -> Result<Self, String> {
        let TokenizerFile { model, added_tokens } = file;
        let highest = model
            .vocab
            .values()
            .copied()
            .chain(added_tokens.iter().map(|token| token.id))
            .max();
        let highest = highest.ok_or("the vocabulary is empty")?;
        if highest >= MAX_TOKENS {
            return Err(format!("token {highest} is above the limit of {MAX_TOKENS}"));
        }
        let special: HashMap<String, u32> = added_tokens
            .into_iter()
            .map(|token| (token.content, token.id))
            .collect();
        let byte_of = byte_of_char();
        let mut bytes = vec![None; highest as usize + 1];
        for (token, &id) in &model.vocab {
            // Published vocabularies list <|endoftext|> among the text tokens too.
            if !special.contains_key(token) {
                let token: Option<Box<[u8]>> = token.chars().map(|c| byte_of.get(&c).copied()).collect();
                bytes[id as usize] = token;
            }
        }
        let mut single = Box::new([None; 256]);
        for (id, token) in (0..).zip(&bytes) {
            if let Some(&[byte]) = token.as_deref() {
                single[byte as usize] = Some(id);
            }
        }
        let mut merges = HashMap::with_capacity(model.merges.len());
        for (rank, merge) in (0..).zip(&model.merges) {
            let (left, right) = merge.parts().ok_or("a merge does not have two parts")?;
            let id = |token: &str| model.vocab.get(token).copied();
            let (Some(left_id), Some(right_id)) = (id(left), id(right)) else {
                return Err(format!("merge {left:?} {right:?} is not made of tokens"));
            };
            let merged =
                id(&format!("{left}{right}")).ok_or_else(|| format!("merge {left:?} {right:?} is no token"))?;
            merges.entry((left_id, right_id)).or_insert((rank, merged));
        }
        Ok(Tokenizer {
            bytes,
            single,
            merges,
            special,
        })
    }

    /// The id of a special token such as `<|startoftranscript|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        self.special.get(name).copied()
    }

    /// All special tokens by name.
    pub fn specials(&self) -> impl Iterator<Item = (&str, u32)> {
        self.special.iter().map(|(name, &id)| (name.as_str(), id))
    }

    /// The bytes of a text token, not necessarily whole characters; `None` for special tokens and unknown ids.
    pub fn bytes(&self, token: u32) -> Option<&[u8]> {
        self.bytes.get(token as usize)?.as_deref()
    }

    /// The text of `tokens`. Special tokens say nothing, a character cut off at the end is left out, other bytes that are not
    /// UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes: Vec<u8> = tokens
            .iter()
            .filter_map(|&token| self.bytes(token))
            .flatten()
            .copied()
            .collect();
        let cut_off = bytes
            .utf8_chunks()
            .last()
            .map_or(0, |chunk| match std::str::from_utf8(chunk.invalid()) {
                Err(error) if error.error_len().is_none() => chunk.invalid().len(),
                _ => 0,
            });
        bytes.truncate(bytes.len() - cut_off);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The tokens of `text`. Names of special tokens are text like any other: a prompt can't inject them. Bytes that the
    /// vocabulary lacks are skipped.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        for piece in Pieces(text) {
            let piece = piece.bytes().filter_map(|byte| self.single[byte as usize]).collect();
            tokens.extend(self.merge(piece));
        }
        tokens
    }

    /// Merges neighbours, lowest rank first, every occurrence of a pair in one pass.
    fn merge(&self, mut tokens: Vec<u32>) -> Vec<u32> {
        loop {
            let pairs = tokens.windows(2).map(|pair| (pair[0], pair[1]));
            let candidates =
                pairs.filter_map(|pair| self.merges.get(&pair).map(|&(rank, merged)| (rank, merged, pair)));
            let Some((_, merged, (left, right))) = candidates.min() else {
                return tokens;
            };
            let mut rest = tokens.iter().copied().peekable();
            let mut next = Vec::with_capacity(tokens.len());
            while let Some(token) = rest.next() {
                if token == left && rest.next_if_eq(&right).is_some() {
                    next.push(merged);
                } else {
                    next.push(token);
                }
            }
            tokens = next;
        }
    }
}

/// Splits text as GPT-2 does before merging:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let length = piece_length(self.0)?;
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(piece)
    }
}

/// The length in bytes of the first piece of `text`, if any is left.
fn piece_length(text: &str) -> Option<usize> {
    let contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(contraction) = contractions.iter().find(|&&contraction| text.starts_with(contraction)) {
        return Some(contraction.len());
    }
    let word = text.strip_prefix(' ').unwrap_or(text);
    if let Some(kind) = word.chars().next().map(Kind::of).filter(|&kind| kind != Kind::Space) {
        let length: usize = word
            .chars()
            .take_while(|&c| Kind::of(c) == kind)
            .map(char::len_utf8)
            .sum();
        return Some(text.len() - word.len() + length);
    }
    let spaces: usize = text
        .chars()
        .take_while(|&c| Kind::of(c) == Kind::Space)
        .map(char::len_utf8)
        .sum();
    let last = text[..spaces].chars().next_back()?.len_utf8();
    // The last space before a word belongs to the word.
    let before_word = spaces < text.len() && spaces > last;
    Some(if before_word { spaces - last } else { spaces })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

impl Kind {
    fn of(c: char) -> Kind {
        if c.is_whitespace() {
            return Kind::Space;
        }
        match get_general_category(c) {
            Category::UppercaseLetter
            | Category::LowercaseLetter
            | Category::TitlecaseLetter
            | Category::ModifierLetter
            | Category::OtherLetter => Kind::Letter,
            Category::DecimalNumber | Category::LetterNumber | Category::OtherNumber => Kind::Number,
            _ => Kind::Other,
        }
    }
}

/// How vocabularies write bytes: printable Latin-1 as itself, the others as characters from U+0100 on.
fn byte_of_char() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255).filter(|&byte| !printable(byte)).zip('\u{100}'..);
    let same = (0..=255)
        .filter(|&byte| printable(byte))
        .map(|byte| (char::from(byte), byte));
    others.map(|(byte, c)| (c, byte)).chain(same).collect()
}

fn separate_files(dir: &Path) -> Result<TokenizerFile, WhisperError> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).map_err(|error| WhisperError::read(&path, error))
    };
    let json = |name: &str, text: &str| {
        serde_json::from_str(text).map_err(|error| WhisperError::invalid(&dir.join(name), error))
    };
    let vocab = json("vocab.json", &read("vocab.json")?)?;
    let merges = read("merges.txt")?;
    let merges = merges
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("#version"));
    let merges = merges.map(|line| Merge::Line(line.to_owned())).collect();
    let added: HashMap<String, u32> = match read("added_tokens.json") {
        Ok(text) => json("added_tokens.json", &text)?,
        Err(_) => HashMap::new(),
    };
    let added_tokens = added
        .into_iter()
        .map(|(content, id)| AddedToken { id, content })
        .collect();
    Ok(TokenizerFile {
        model: Bpe { vocab, merges },
        added_tokens,
    })
}

#[derive(Deserialize)]
struct TokenizerFile {
    model: Bpe,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Bpe {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// Older files write a merge as one line, newer ones as a pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

impl Merge {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Line(line) => line.split_once(' '),
            Merge::Pair(left, right) => Some((left, right)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A vocabulary of the 256 bytes alone.
    pub(in crate::whisper) fn bytes_only() -> Tokenizer {
        let mut chars: Vec<(char, u8)> = byte_of_char().into_iter().collect();
        chars.sort_by_key(|&(_, byte)| byte);
        let vocab = (0..).zip(chars).map(|(id, (c, _))| (c.to_string(), id)).collect();
        Tokenizer::from_file(TokenizerFile {
            model: Bpe {
                vocab,
                merges: Vec::new(),
            },
            added_tokens: Vec::new(),
        })
        .unwrap()
    }

    /// Every byte, the merges for " five" and "fi", and a special token.
    fn tokenizer() -> Tokenizer {
        let mut chars: Vec<(char, u8)> = byte_of_char().into_iter().collect();
        chars.sort_by_key(|&(_, byte)| byte);
        let mut vocab: HashMap<String, u32> = (0..).zip(chars).map(|(id, (c, _))| (c.to_string(), id)).collect();
        for (id, token) in (256..).zip(["fi", "ve", "five", "Ġfive"]) {
            vocab.insert(token.to_owned(), id);
        }
        let merge = |left: &str, right: &str| Merge::Pair(left.to_owned(), right.to_owned());
        let merges = vec![
            Merge::Line("f i".to_owned()),
            merge("v", "e"),
            merge("fi", "ve"),
            merge("Ġ", "five"),
        ];
        let added_tokens = vec![AddedToken {
            id: 260,
            content: "<|endoftext|>".to_owned(),
        }];
        Tokenizer::from_file(TokenizerFile {
            model: Bpe { vocab, merges },
            added_tokens,
        })
        .unwrap()
    }

    #[test]
    fn text_comes_back_from_its_tokens() {
        let tokenizer = tokenizer();
        for text in ["", " five", "naïve 東京 — café\n\t x", "🎙️'s"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
        }
    }

    #[test]
    fn a_character_cut_off_at_the_end_is_left_out() {
        let tokenizer = tokenizer();
        let tokens = tokenizer.encode("a東");
        assert_eq!(tokenizer.decode(&tokens[..3]), "a");
        assert_eq!(tokenizer.decode(&[&tokens[..3], &tokens[..1]].concat()), "a\u{FFFD}a");
    }

    #[test]
    fn merges_apply_lowest_rank_first_and_not_across_words() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.encode(" five"), [259]);
        assert_eq!(tokenizer.encode("five five"), [258, 259]);
        assert_eq!(tokenizer.encode("fi"), [256]);
    }

    #[test]
    fn names_of_special_tokens_in_text_stay_text() {
        let tokenizer = tokenizer();
        assert!(!tokenizer.encode("<|endoftext|>").contains(&260));
        assert_eq!(tokenizer.decode(&[260, 259]), " five");
    }

    #[test]
    fn text_splits_as_gpt2_splits_it() {
        let pieces = |text| Pieces(text).collect::<Vec<_>>();
        assert_eq!(pieces("I've  been  42."), ["I", "'ve", " ", " been", " ", " 42", "."]);
        assert_eq!(pieces("a\n\nb "), ["a", "\n", "\n", "b", " "]);
        assert_eq!(pieces(" \t"), [" \t"]);
        assert_eq!(pieces("don't!?x"), ["don", "'t", "!?", "x"]);
        assert_eq!(pieces("हिन्दी"), ["ह", "ि", "न", "्", "द", "ी"], "marks are not letters");
    }

    #[test]
    fn a_merge_of_unknown_tokens_is_refused() {
        let vocab = HashMap::from([("a".to_owned(), 0)]);
        let merges = vec![Merge::Line("a b".to_owned())];
        let file = TokenizerFile {
            model: Bpe { vocab, merges },
            added_tokens: Vec::new(),
        };
        assert!(Tokenizer::from_file(file).unwrap_err().contains("not made of tokens"));
    }

    #[test]
    fn an_absurd_token_id_is_refused() {
        let vocab = HashMap::from([("a".to_owned(), u32::MAX)]);
        let file = TokenizerFile {
            model: Bpe {
                vocab,
                merges: Vec::new(),
            },
            added_tokens: Vec::new(),
        };
        assert!(Tokenizer::from_file(file).unwrap_err().contains("limit"));
    }
}
