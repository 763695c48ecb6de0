use std::{fmt, time::Duration};

use datafusion::{
    common::ScalarValue,
    logical_expr::Expr,
    sql::sqlparser::{
        keywords::Keyword,
        parser::Parser,
        tokenizer::{Location, Token},
    },
};

use crate::{Error, logical::micros, nearest::nearest};

/// The options in `WITH (name = value, …)`. Each is asked for by name and type; [`finish`](Self::finish) then refuses what
/// nobody asked for. So the questions are the only list of options there is.
pub(super) struct Options {
    given: Vec<Given>,
    asked: Vec<&'static str>,
    place: Location,
}

struct Given {
    name: String,
    value: Value,
    at: Location,
}

#[derive(Clone)]
enum Value {
    Text(String),
    Number(String),
    Boolean(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Number(number) => f.write_str(number),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}

impl Options {
    /// Reads `WITH (…)`, if it comes next.
    pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Self, Error> {
        let place = parser.peek_token_ref().span.start;
        let mut options = Self {
            given: Vec::new(),
            asked: Vec::new(),
            place,
        };
        if parser.peek_nth_token(1).token != Token::LParen || !parser.parse_keyword(Keyword::WITH) {
            return Ok(options);
        }
        parser.next_token();
        loop {
            let name = parser.next_token();
            let at = name.span.start;
            let name = match name.token {
                Token::RParen => return Ok(options),
                Token::Word(word) => word.value,
                Token::SingleQuotedString(text) => text,
                other => return Err(Error::syntax(at, format!("{other} is no option: write name = value"))),
            };
            if parser.next_token().token != Token::Eq {
                return Err(Error::syntax(
                    at,
                    format!("the option {name} has no value: write {name} = …"),
                ));
            }
            let value = parser.next_token();
            let value = match value.token {
                Token::SingleQuotedString(text) => Value::Text(text),
                Token::Number(number, _) => Value::Number(number),
                Token::Word(word) if word.keyword == Keyword::TRUE => Value::Boolean(true),
                Token::Word(word) if word.keyword == Keyword::FALSE => Value::Boolean(false),
                Token::Word(word) => Value::Text(word.value),
                other => {
                    return Err(Error::syntax(
                        value.span.start,
                        format!("{other} is no value for {name}"),
                    ));
                }
            };
            if options.given.iter().any(|given| given.name.eq_ignore_ascii_case(&name)) {
                return Err(Error::syntax(at, format!("the option {name} is given twice")));
            }
            options.given.push(Given { name, value, at });
            let next = parser.next_token();
            match next.token {
                Token::Comma => {}
                Token::RParen => return Ok(options),
                other => {
                    return Err(Error::syntax(
                        next.span.start,
                        format!("a comma or ) must follow, not {other}"),
                    ));
                }
            }
        }
    }

    /// Whether there are any.
    pub(super) fn are_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// Where the options begin.
    pub(super) fn place(&self) -> Location {
        self.place
    }

    fn take(&mut self, name: &'static str) -> Option<Given> {
        self.asked.push(name);
        let position = self
            .given
            .iter()
            .position(|given| given.name.eq_ignore_ascii_case(name))?;
        Some(self.given.swap_remove(position))
    }

    /// A text, with its place.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<(String, Location)>, Error> {
        let Some(given) = self.take(name) else { return Ok(None) };
        match given.value {
            Value::Text(text) if !text.is_empty() => Ok(Some((text, given.at))),
            other => Err(Error::syntax(
                given.at,
                format!("{name} must be a text, not {other}: write {name} = '…'"),
            )),
        }
    }

    /// A whole number between bounds.
    pub(super) fn count(&mut self, name: &'static str, least: u32, most: u32) -> Result<Option<u32>, Error> {
        let Some(given) = self.take(name) else { return Ok(None) };
        let (Value::Text(text) | Value::Number(text)) = &given.value else {
            return Err(Error::syntax(
                given.at,
                format!("{name} must be a number, not {}", given.value),
            ));
        };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Error::syntax(
                given.at,
                format!("{name} must be a number from {least} to {most}, not {}", given.value),
            )),
        }
    }

    /// A length of time.
    pub(super) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Error> {
        let Some(given) = self.take(name) else { return Ok(None) };
        let length = match &given.value {
            Value::Text(text) => {
                let literal = Expr::Literal(ScalarValue::Utf8(Some(text.clone())), None);
                micros(&literal).ok().and_then(|micros| u64::try_from(micros).ok())
            }
            _ => None,
        };
        match length {
            Some(micros) => Ok(Some(Duration::from_micros(micros))),
            None => {
                let message = format!(
                    "{name} must be a length of time, not {}: write {name} = '10 minutes'",
                    given.value
                );
                Err(Error::syntax(given.at, message))
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some((text, at)) = self.text(name)? else {
            return Ok(None);
        };
        if let Some((_, choice)) = choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(&text)) {
            return Ok(Some(*choice));
        }
        let words = || choices.iter().map(|(choice, _)| *choice);
        let advice = match nearest(&text, words()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("choose from {}", words().collect::<Vec<_>>().join(", ")),
        };
        Err(Error::syntax(at, format!("{name} can't be '{text}': {advice}")))
    }

    /// Refuses what is left. `what` says what the options are of.
    pub(super) fn finish(self, what: &str) -> Result<(), Error> {
        let Some(unknown) = self.given.first() else {
            return Ok(());
        };
        let advice = match nearest(&unknown.name, self.asked.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", self.asked.join(", ")),
        };
        Err(Error::syntax(
            unknown.at,
            format!("{what} has no option {}; {advice}", unknown.name),
        ))
    }
}
