//! What the decoder reads before it writes.
use super::Task;
use super::vocabulary::Vocabulary;
use crate::whisper::WhisperError;

/// Positions that must be left for new text.
const LEAST_ROOM: usize = 16;
/// The most control tokens there are.
const CONTROL: usize = 4;

/// The tokens before the text, and where the transcript starts among them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) tokens: Vec<u32>,
    /// Position of `<|startoftranscript|>`: what the model says after it tells whether there is speech at all.
    pub(super) transcript: usize,
}

/// `<|startoftranscript|>`, language, task, and `<|notimestamps|>` where the vocabulary has them and they are wanted.
pub(super) fn control(vocabulary: &Vocabulary, language: Option<u32>, task: Task, timestamps: bool) -> Vec<u32> {
    let task = match task {
        Task::Transcribe => vocabulary.transcribe,
        Task::Translate => vocabulary.translate,
    };
    let no_timestamps = vocabulary.no_timestamps.filter(|_| !timestamps);
    [Some(vocabulary.start_of_transcript), language, task, no_timestamps]
        .into_iter()
        .flatten()
        .collect()
}

/// # Errors
/// A prefix of `length` tokens leaves no room for text in the decoder's `positions`.
pub(super) fn check_prefix(length: usize, positions: usize) -> Result<(), WhisperError> {
    if length + CONTROL + LEAST_ROOM.min(positions / 2) <= positions {
        return Ok(());
    }
    Err(WhisperError::Request(format!(
        "a prefix of {length} tokens leaves no room for text in the decoder's {positions} positions; begin a new window"
    )))
}

/// `<|startofprev|>` and as much of `previous` as fits (at most half the decoder's `positions`), the control tokens, and
/// the text's `prefix`.
pub(super) fn start(
    vocabulary: &Vocabulary,
    positions: usize,
    previous: &[u32],
    control: &[u32],
    prefix: &[u32],
) -> Start {
    let needed = control.len() + prefix.len() + LEAST_ROOM.min(positions / 2);
    let room = positions.saturating_sub(needed).min(positions / 2).saturating_sub(1);
    let mut tokens = Vec::with_capacity(positions);
    if let Some(start_of_previous) = vocabulary.start_of_previous
        && !previous.is_empty()
        && room > 0
    {
        tokens.push(start_of_previous);
        tokens.extend_from_slice(&previous[previous.len().saturating_sub(room)..]);
    }
    let transcript = tokens.len();
    tokens.extend_from_slice(control);
    tokens.extend_from_slice(prefix);
    Start { tokens, transcript }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::vocabulary;
    use super::*;

    fn with_previous() -> Vocabulary {
        Vocabulary {
            start_of_previous: Some(9),
            transcribe: Some(7),
            translate: Some(8),
            ..vocabulary()
        }
    }

    #[test]
    fn control_tokens_name_language_task_and_times() {
        let vocabulary = with_previous();
        assert_eq!(control(&vocabulary, Some(5), Task::Transcribe, false), [11, 5, 7, 12]);
        assert_eq!(control(&vocabulary, Some(5), Task::Translate, true), [11, 5, 8]);
    }

    #[test]
    fn models_of_one_language_have_no_language_and_no_task() {
        assert_eq!(
            control(&super::super::rules::tests::vocabulary(), None, Task::Transcribe, false),
            [11, 12]
        );
    }

    #[test]
    fn the_tail_of_the_previous_text_that_fits_comes_first() {
        let vocabulary = with_previous();
        let previous: Vec<u32> = (0..100).collect();
        let start = start(&vocabulary, 20, &previous, &[11, 12], &[3]);
        assert_eq!(start.tokens, [9, 94, 95, 96, 97, 98, 99, 11, 12, 3]);
        assert_eq!(start.transcript, 7);
        assert_eq!(
            super::start(&vocabulary, 448, &previous[..2], &[11], &[]).tokens,
            [9, 0, 1, 11]
        );
    }

    #[test]
    fn no_previous_text_means_no_token_for_it() {
        assert_eq!(start(&with_previous(), 20, &[], &[11], &[]).tokens, [11]);
    }

    #[test]
    fn a_prefix_that_fills_the_decoder_is_refused() {
        let error = check_prefix(17, 20).unwrap_err();
        assert!(error.to_string().contains("new window"), "{error}");
    }
}
