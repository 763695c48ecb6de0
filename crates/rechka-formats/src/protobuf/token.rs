//! The tokens of a `.proto` file.

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier with its dots, a keyword or a number.
    Word(String),
    /// What stands between quotes, as it is.
    Text(String),
    Mark(char),
}

/// Splits a file into tokens, without comments.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = if let Some(comment) = rest.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").ok_or("a comment that does not end")?.1
        } else if matches!(first, '"' | '\'') {
            let (text, after) = rest[1..].split_once(first).ok_or("a text that does not end")?;
            tokens.push(Token::Text(text.to_owned()));
            after
        } else if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            &rest[end..]
        } else {
            tokens.push(Token::Mark(first));
            &rest[first.len_utf8()..]
        }
        .trim_start();
    }
    Ok(tokens)
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+')
}
