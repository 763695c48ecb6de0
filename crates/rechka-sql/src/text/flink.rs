use datafusion::sql::sqlparser::{
    keywords::Keyword,
    tokenizer::{Span, Token, TokenWithSpan},
};

use super::{partition::PARTITION_BY, tokens::is_word};

/// Forms of Flink that have no place in the grammar become table functions:
///
/// - `TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), …))` → `TUMBLE(bid, ts, …)`
/// - `SESSION(TABLE bid PARTITION BY a, b, DESCRIPTOR(ts), …)` → `SESSION(bid, ts, …, PARTITION_BY => (a, b))`
/// - `prices FOR SYSTEM_TIME AS OF o.ts` → `AS_OF(prices, o.ts)`
pub(super) fn as_table_functions(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    with_as_of(&without_table(&with_partition(tokens)))
}

/// Moves `PARTITION BY` behind the other arguments, where it has a place in the grammar.
fn with_partition(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut rewritten = tokens.to_vec();
    let is = |token: Option<&TokenWithSpan>, word| token.is_some_and(|token| is_word(&token.token, word));
    let mut next = 0;
    while next < rewritten.len() {
        let at = next;
        next += 1;
        if !is(rewritten.get(at), "PARTITION") || !is(rewritten.get(at + 1), "BY") {
            continue;
        }
        let begins = |place: &usize| !matches!(rewritten[*place].token, Token::LParen | Token::Comma);
        let of_table = (0..at).rev().take_while(begins).last().is_some_and(|first| {
            let is_named = rewritten
                .get(first + 1)
                .is_some_and(|token| token.token == Token::RArrow);
            is(rewritten.get(if is_named { first + 2 } else { first }), "TABLE")
        });
        let Some(close) = enclosing(&rewritten, at).filter(|_| of_table) else {
            continue;
        };
        // The keys end at the comma before DESCRIPTOR(…), or before the next named argument.
        let rest = &rewritten[at + 2..close];
        let length = (0..rest.len()).find(|&place| {
            let is_named = rest.get(place + 2).is_some_and(|token| token.token == Token::RArrow);
            rest[place].token == Token::Comma && (is_named || is(rest.get(place + 1), "DESCRIPTOR"))
        });
        let Some(length) = length else {
            continue;
        };
        let keys: Vec<TokenWithSpan> = rewritten[at + 2..at + 2 + length].to_vec();
        let span = rewritten[at].span;
        let token = |token| TokenWithSpan::new(token, Span::new(span.start, span.end));
        let is_list = keys.first().is_some_and(|first| first.token == Token::LParen);
        let mut argument = vec![
            token(Token::Comma),
            token(Token::make_word(PARTITION_BY, None)),
            token(Token::RArrow),
        ];
        argument.extend((!is_list).then(|| token(Token::LParen)));
        argument.extend(keys);
        argument.extend((!is_list).then(|| token(Token::RParen)));
        rewritten.splice(close..close, argument);
        rewritten.drain(at..at + 2 + length);
    }
    rewritten
}

/// The parenthesis that closes those around this place.
fn enclosing(tokens: &[TokenWithSpan], inside: usize) -> Option<usize> {
    let mut depth = 1usize;
    for (index, token) in tokens.iter().enumerate().skip(inside) {
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

/// Whether this is the first argument of a window function, or a named one: elsewhere `table` may be a column.
fn is_argument(tokens: &[TokenWithSpan], index: usize) -> bool {
    let before = |distance: usize| index.checked_sub(distance).map(|index| &tokens[index].token);
    match before(1) {
        Some(Token::RArrow) => true,
        Some(Token::LParen) => {
            let windows = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];
            before(2).is_some_and(|function| windows.iter().any(|window| is_word(function, window)))
        }
        _ => false,
    }
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
        if wraps_function && let Some(close) = enclosing(tokens, index + 2) {
            dropped[index] = true;
            dropped[index + 1] = true;
            dropped[close] = true;
        } else if is_argument(tokens, index) {
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
