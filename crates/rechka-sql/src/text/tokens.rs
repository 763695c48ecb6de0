use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use crate::Error;

/// A pipeline is at most this long, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Operators may be chained (`a + b + c …`) over at most this many tokens: what walks the tree of an expression does so by
/// recursion, and a chain is as deep as it is long.
const MAX_CHAIN: usize = 400;
/// At most this many joins and set operations in a statement, for the same reason.
const MAX_RELATIONS: usize = 100;
/// Types inside each other (`ARRAY<STRUCT<…>>`), which the parser reads by recursion.
const MAX_TYPES: usize = 32;

/// What is open until its end comes.
#[derive(PartialEq)]
enum Opened {
    Bracket,
    Case,
    Type,
}

static DIALECT: GenericDialect = GenericDialect {};

/// The statements of a text, as tokens without space and comments. None is empty.
pub(crate) fn statements(text: &str) -> Result<Vec<Vec<TokenWithSpan>>, Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::Plan(format!(
            "the text is longer than {MAX_TEXT} bytes: split it"
        )));
    }
    let tokens = Tokenizer::new(&DIALECT, text)
        .tokenize_with_location()
        .map_err(|error| Error::syntax(error.location, error.message))?;
    let mut statements = Vec::new();
    for statement in tokens.split(|token| token.token == Token::SemiColon) {
        let significant = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
        let statement: Vec<_> = statement.iter().filter(significant).cloned().collect();
        if !statement.is_empty() {
            check_depth(&statement)?;
            statements.push(statement);
        }
    }
    Ok(statements)
}

fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let is_case = |token: &Token| is_word(token, "CASE");
    let is_type = |token: &Token| ["STRUCT", "ARRAY", "MAP"].iter().any(|word| is_word(token, word));
    let (mut open, mut chain, mut relations, mut types) = (Vec::new(), 0, 0, 0);
    let mut before = &Token::EOF;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push((Opened::Bracket, std::mem::take(&mut chain)));
            }
            case if is_case(case) => open.push((Opened::Case, std::mem::take(&mut chain))),
            Token::Lt if is_type(before) => {
                open.push((Opened::Type, std::mem::take(&mut chain)));
                types += 1;
            }
            closing @ (Token::Gt | Token::ShiftRight) => {
                for _ in 0..1 + usize::from(*closing == Token::ShiftRight) {
                    if let Some((_, before)) = open.pop_if(|(opened, _)| *opened == Opened::Type) {
                        chain = before;
                        types -= 1;
                    }
                }
            }
            // What looked like a type was a comparison.
            Token::Number(..) => {
                types -= usize::from(open.pop_if(|(opened, _)| *opened == Opened::Type).is_some());
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                while open.pop_if(|(opened, _)| *opened == Opened::Type).is_some() {
                    types -= 1;
                }
                chain = open.pop().map_or(chain, |(_, chain)| chain);
            }
            end if is_word(end, "END") => {
                chain = open
                    .pop_if(|(opened, _)| *opened == Opened::Case)
                    .map_or(chain, |(_, chain)| chain);
            }
            when if is_word(when, "WHEN") => chain = 0,
            Token::Comma => chain = 0,
            Token::Word(word)
                if matches!(
                    word.keyword,
                    Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::JOIN
                ) =>
            {
                relations += 1;
                chain = 0;
            }
            _ => {}
        }
        before = &token.token;
        chain += 1;
        if types > MAX_TYPES {
            let message = format!("types are nested more than {MAX_TYPES} deep: flatten them");
            return Err(Error::syntax(token.span.start, message));
        }
        if chain > MAX_CHAIN || open.len() > MAX_CHAIN {
            return Err(Error::syntax(
                token.span.start,
                "the expression is too long: break it up by subqueries",
            ));
        }
        if relations > MAX_RELATIONS {
            let message =
                format!("more than {MAX_RELATIONS} joins and set operations: break it up by CREATE STREAM … AS");
            return Err(Error::syntax(token.span.start, message));
        }
    }
    Ok(())
}

/// A parser over the tokens of one statement.
pub(crate) fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&DIALECT).with_tokens_with_locations(tokens)
}

/// Where the tokens end.
pub(crate) fn end(tokens: &[TokenWithSpan]) -> Location {
    tokens
        .last()
        .map_or(Location { line: 1, column: 1 }, |token| token.span.end)
}

/// Whether a token is this word (upper case, never a quoted name).
pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
