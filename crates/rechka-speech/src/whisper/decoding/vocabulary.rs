//! What the special tokens of a checkpoint are: by its configuration, or else by their names.
use super::languages;
use crate::whisper::{Config, Tokenizer, WhisperError};

/// Every OpenAI vocabulary below this size is English-only; checkpoints converted before `generation_config.json` existed
/// don't say so themselves.
const SMALLEST_MULTILINGUAL: usize = 51_865;

/// The special tokens and token lists that decoding needs.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    pub(super) start_of_transcript: u32,
    pub(super) end_of_text: u32,
    pub(super) start_of_previous: Option<u32>,
    pub(super) no_speech: Option<u32>,
    pub(super) no_timestamps: Option<u32>,
    /// The token of 0.00 s; all tokens from here on are timestamps. Beyond the vocabulary when it has none.
    pub(super) timestamp_begin: u32,
    pub(super) transcribe: Option<u32>,
    pub(super) translate: Option<u32>,
    /// Codes and tokens, in the order of the tokens; empty for models of one language.
    pub(super) languages: Vec<(String, u32)>,
    pub(super) suppress: Vec<u32>,
    pub(super) begin_suppress: Vec<u32>,
    /// The largest first timestamp, in steps of 20 ms.
    pub(super) max_initial_timestamp: Option<usize>,
}

impl Vocabulary {
    pub(super) fn new(config: &Config, tokenizer: &Tokenizer) -> Result<Self, WhisperError> {
        let special = |name: &str| tokenizer.special(name).filter(|&id| (id as usize) < config.vocab_size);
        let no_timestamps = config.no_timestamps.or_else(|| special("<|notimestamps|>"));
        let no_speech = special("<|nospeech|>").or_else(|| special("<|nocaptions|>"));
        let end_of_text = config.end_of_text;
        if no_timestamps.is_some_and(|token| token < end_of_text) {
            let reason = format!("<|notimestamps|> ({no_timestamps:?}) comes before the end of text ({end_of_text})");
            return Err(WhisperError::Request(reason));
        }
        let mut languages: Vec<(String, u32)> = config.languages.iter().map(|(code, &id)| (code.clone(), id)).collect();
        if languages.is_empty() && config.vocab_size >= SMALLEST_MULTILINGUAL {
            languages = languages_by_name(tokenizer, config.vocab_size);
        }
        languages.sort_by_key(|&(_, token)| token);
        // English-only vocabularies name languages and tasks too, but never trained those tokens.
        let multilingual = !languages.is_empty();
        let task = |configured: Option<u32>, name| configured.or_else(|| special(name)).filter(|_| multilingual);
        let in_vocabulary = |tokens: &[u32]| {
            tokens
                .iter()
                .copied()
                .filter(|&token| (token as usize) < config.vocab_size)
                .collect()
        };
        Ok(Vocabulary {
            start_of_transcript: config.start_of_transcript,
            end_of_text,
            start_of_previous: config.start_of_previous.or_else(|| special("<|startofprev|>")),
            no_speech: no_speech.or(config.no_speech()),
            no_timestamps,
            timestamp_begin: no_timestamps.map_or(u32::MAX, |token| token + 1),
            transcribe: task(config.transcribe, "<|transcribe|>"),
            translate: task(config.translate, "<|translate|>"),
            languages,
            suppress: in_vocabulary(&config.suppress_tokens),
            begin_suppress: in_vocabulary(&config.begin_suppress_tokens),
            max_initial_timestamp: config.max_initial_timestamp,
        })
    }

    /// Whether the token is a time.
    pub(super) fn is_timestamp(&self, token: u32) -> bool {
        token >= self.timestamp_begin
    }

    /// The code and token of a language given as a code or an English name, in any case.
    pub(super) fn language(&self, language: &str) -> Result<(&str, u32), WhisperError> {
        let code = languages::code(language);
        let known = self.languages.iter().find(|(known, _)| *known == code);
        known.map(|(code, token)| (code.as_str(), *token)).ok_or_else(|| {
            let codes: Vec<&str> = self.languages.iter().map(|(code, _)| code.as_str()).collect();
            WhisperError::Request(format!(
                "this model does not know the language {language:?}; it knows {}",
                codes.join(", ")
            ))
        })
    }
}

/// Special tokens that look like `<|en|>` or `<|haw|>`.
fn languages_by_name(tokenizer: &Tokenizer, size: usize) -> Vec<(String, u32)> {
    let code = |name: &str| {
        let code = name.strip_prefix("<|")?.strip_suffix("|>")?;
        let is_code = matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
        is_code.then(|| code.to_owned())
    };
    let in_vocabulary = tokenizer.specials().filter(|&(_, id)| (id as usize) < size);
    in_vocabulary.filter_map(|(name, id)| Some((code(name)?, id))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The vocabulary of a checkpoint of `tests/parity` without `generation_config.json`, as
    /// old checkpoints come.
    fn old(name: &str) -> Vocabulary {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "tokenizer.json"] {
            fs::copy(source.join(file), folder.path().join(file)).unwrap();
        }
        let config = Config::load(folder.path()).unwrap();
        Vocabulary::new(&config, &Tokenizer::load(folder.path()).unwrap()).unwrap()
    }

    fn new(name: &str) -> Vocabulary {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
        Vocabulary::new(&Config::load(&folder).unwrap(), &Tokenizer::load(&folder).unwrap()).unwrap()
    }

    #[test]
    fn special_tokens_are_found_by_name_where_the_configuration_lacks_them() {
        let (old, new) = (old("english"), new("english"));
        assert!(new.no_timestamps.is_some() && new.start_of_previous.is_some() && new.no_speech.is_some());
        assert_eq!(old.no_timestamps, new.no_timestamps);
        assert_eq!(old.start_of_previous, new.start_of_previous);
        assert_eq!(old.no_speech, new.no_speech);
        assert_eq!(old.timestamp_begin, new.timestamp_begin);
    }

    #[test]
    fn english_only_models_have_no_languages_and_no_tasks_though_their_vocabulary_names_them() {
        let vocabulary = new("english");
        assert!(vocabulary.languages.is_empty() && vocabulary.transcribe.is_none() && vocabulary.translate.is_none());
    }

    #[test]
    fn languages_are_known_by_code_and_name() {
        let vocabulary = new("multilingual");
        assert_eq!(
            vocabulary.language("German").unwrap(),
            vocabulary.language("de").unwrap()
        );
        assert!(
            vocabulary
                .language("fr")
                .unwrap_err()
                .to_string()
                .contains("en, de, ru, ja")
        );
    }
}
