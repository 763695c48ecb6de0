use datafusion::sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Span, Token, TokenWithSpan},
};

use super::tokens::is_word;

/// Forms of Flink that have no place in the grammar become table functions:
///
/// - `TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), …))` → `TUMBLE(bid, ts, …)`
/// - `prices FOR SYSTEM_TIME AS OF o.ts` → `AS_OF(prices, o.ts)`
pub(super) fn as_table_functions(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    with_as_of(&without_table(tokens))
}

fn without_table(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let token = |index: usize| tokens.get(index).map(|token| &token.token);
    let mut dropped = vec![false; tokens.len()];
    for index in 0..tokens.len() {
        let calls = token(index + 1) == Some(&Token::LParen);
        if is_word(&tokens[index].token, "DESCRIPTOR") && calls && token(index + 3) == Some(&Token::RParen) {
            dropped[index] = true;
            dropped[index + 1] = true;
            dropped[index + 3] = true;
        }
        if !is_word(&tokens[index].token, "TABLE") || index == 0 {
            continue;
        }
        let is_query = |word: &Token| is_word(word, "SELECT") || is_word(word, "WITH");
        let wraps_function = calls
            && matches!(token(index + 2), Some(word @ Token::Word(_)) if !is_query(word))
            && token(index + 3) == Some(&Token::LParen);
        if wraps_function && let Some(close) = closing(tokens, index + 1) {
            dropped[index] = true;
            dropped[index + 1] = true;
            dropped[close] = true;
        } else if matches!(tokens[index - 1].token, Token::LParen | Token::Comma | Token::RArrow) {
            dropped[index] = true;
        }
    }
    tokens
        .iter()
        .zip(dropped)
        .filter(|(_, dropped)| !dropped)
        .map(|(token, _)| token.clone())
        .collect()
}

/// The parenthesis that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn with_as_of(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let words = ["FOR", "SYSTEM_TIME", "AS", "OF"];
    let mut rewritten: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        let is_as_of =
            rest.len() > words.len() && rest.iter().zip(words).all(|(token, word)| is_word(&token.token, word));
        if is_as_of {
            let time = &rest[words.len()..];
            let (time, after) = time.split_at(path_length(time.iter()));
            let table = rewritten.split_off(rewritten.len() - path_length(rewritten.iter().rev()));
            let token = |token| TokenWithSpan::new(token, Span::new(first.span.start, first.span.end));
            rewritten.extend([token(Token::make_word("AS_OF", None)), token(Token::LParen)]);
            rewritten.extend(table);
            rewritten.push(token(Token::Comma));
            rewritten.extend_from_slice(time);
            rewritten.push(token(Token::RParen));
            rest = after;
        } else {
            rewritten.push(first.clone());
            rest = after;
        }
    }
    rewritten
}

/// How many tokens the path `a.b.c` at the beginning has.
fn path_length<'a>(tokens: impl Iterator<Item = &'a TokenWithSpan>) -> usize {
    let expected = |(index, token): &(usize, &TokenWithSpan)| match &token.token {
        Token::Word(word) => index % 2 == 0 && (word.quote_style.is_some() || word.keyword != Keyword::JOIN),
        Token::Period => index % 2 == 1,
        _ => false,
    };
    tokens.enumerate().take_while(expected).count()
}
