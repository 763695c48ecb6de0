use std::sync::Arc;

use datafusion::sql::sqlparser::{
    ast::Ident,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Location, Span, Token, TokenWithSpan},
};

use super::{Object, Outside, Statement};
use crate::{
    Error, Query,
    nearest::nearest,
    text::tokens::{self, is_word},
};

/// Reads one statement.
pub(super) struct Reader<'a> {
    tokens: Vec<TokenWithSpan>,
    pub(super) parser: Parser<'static>,
    pub(super) outside: &'a dyn Outside,
}

const STATEMENTS: [&str; 7] = ["CREATE", "DROP", "SHOW", "DESCRIBE", "EXPLAIN", "SELECT", "WITH"];

impl<'a> Reader<'a> {
    /// Over the tokens of one statement: at least one.
    pub(super) fn new(tokens: Vec<TokenWithSpan>, outside: &'a dyn Outside) -> Self {
        Self {
            parser: tokens::parser(tokens.clone()),
            tokens,
            outside,
        }
    }

    pub(super) fn statement(mut self) -> Result<Statement, Error> {
        if self.take("EXPLAIN") {
            if self.next_is("EXPLAIN") {
                return Err(self.error("one EXPLAIN is enough"));
            }
            let rest = self.rest();
            return match rest.is_empty() {
                true => Err(self.error("EXPLAIN needs a statement")),
                false => Ok(Statement::Explain(Box::new(Self::new(rest, self.outside).statement()?))),
            };
        }
        if self.next_is("SELECT")
            || self.next_is("WITH")
            || self.next_is("VALUES")
            || self.next_token_is(&Token::LParen)
        {
            return Ok(Statement::Query(self.query()?));
        }
        let statement = if self.take("CREATE") {
            return self.create();
        } else if self.take("DROP") {
            let object = self.object()?;
            let if_exists = self.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            Statement::Drop {
                object,
                name: self.name()?,
                if_exists,
            }
        } else if self.take("SHOW") {
            self.show()?
        } else if self.take("DESCRIBE") || self.take("DESC") {
            Statement::Describe(self.name()?)
        } else if self.next_is("INSERT") {
            return Err(self.error("rows are not inserted: write CREATE SINK name FROM relation WITH (to = 'topic:…')"));
        } else {
            return Err(self.unexpected("a statement begins", &STATEMENTS));
        };
        self.end()?;
        Ok(statement)
    }

    fn object(&mut self) -> Result<Object, Error> {
        for (word, object) in [
            ("STREAM", Object::Stream),
            ("TABLE", Object::Table),
            ("VIEW", Object::View),
            ("SINK", Object::Sink),
        ] {
            if self.take(word) {
                return Ok(object);
            }
        }
        if self.parser.parse_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW]) {
            return Ok(Object::View);
        }
        Err(self.unexpected("DROP goes on", &["STREAM", "TABLE", "VIEW", "SINK"]))
    }

    fn show(&mut self) -> Result<Statement, Error> {
        for (word, object) in [
            ("STREAMS", Some(Object::Stream)),
            ("TABLES", Some(Object::Table)),
            ("VIEWS", Some(Object::View)),
            ("SINKS", Some(Object::Sink)),
            ("RELATIONS", None),
        ] {
            if self.take(word) {
                return Ok(Statement::Show(object));
            }
        }
        Err(self.unexpected("SHOW goes on", &["STREAMS", "TABLES", "VIEWS", "SINKS", "RELATIONS"]))
    }

    /// The tokens that come next, to the end.
    fn rest(&self) -> Vec<TokenWithSpan> {
        self.tokens.get(self.parser.index()..).unwrap_or_default().to_vec()
    }

    /// The query that the rest of the statement is.
    pub(super) fn query(&self) -> Result<Query, Error> {
        match self.rest() {
            rest if rest.is_empty() => Err(self.error("a query must follow: SELECT …")),
            rest => Query::new(rest),
        }
    }

    /// `SELECT * FROM` the rest of the statement up to `WITH (`, which is read past.
    pub(super) fn all_of(&mut self) -> Result<Query, Error> {
        let rest = self.rest();
        let with = |pair: &[TokenWithSpan]| is_word(&pair[0].token, "WITH") && pair[1].token == Token::LParen;
        let length = rest.windows(2).position(with).unwrap_or(rest.len());
        let place = Span::new(self.place(), self.place());
        let head = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
        let head = head.map(|token| TokenWithSpan::new(token, place));
        for _ in 0..length {
            self.parser.next_token();
        }
        Query::new(head.into_iter().chain(rest.into_iter().take(length)).collect())
    }

    pub(super) fn name(&mut self) -> Result<Arc<str>, Error> {
        let place = self.place();
        let Ident { value, .. } = self
            .parser
            .parse_identifier()
            .map_err(|_| self.error("a name must follow"))?;
        let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
        if value.is_empty() || value.len() > 128 || !value.chars().all(plain) {
            return Err(Error::syntax(place, "a name is up to 128 letters, digits, _ and -"));
        }
        Ok(value.into())
    }

    pub(super) fn next_is(&self, word: &str) -> bool {
        is_word(&self.parser.peek_token_ref().token, word)
    }

    pub(super) fn next_token_is(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.next_is(word);
        if found {
            self.parser.next_token();
        }
        found
    }

    pub(super) fn expect(&mut self, token: &Token, usage: &str) -> Result<(), Error> {
        match self.parser.consume_token(token) {
            true => Ok(()),
            false => Err(self.error(format!("{token} must follow, not {}: write {usage}", self.found()))),
        }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Error> {
        match self.next_token_is(&Token::EOF) {
            true => Ok(()),
            false => Err(self.error(format!("the statement should end before {}", self.found()))),
        }
    }

    /// Where the next token is.
    pub(super) fn place(&self) -> Location {
        match self.next_token_is(&Token::EOF) {
            true => tokens::end(&self.tokens),
            false => self.parser.peek_token_ref().span.start,
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::syntax(self.place(), message)
    }

    pub(super) fn found(&self) -> String {
        match &self.parser.peek_token_ref().token {
            Token::EOF => "the end".to_owned(),
            token => token.to_string(),
        }
    }

    pub(super) fn unexpected(&self, begins: &str, words: &[&str]) -> Error {
        let found = self.found();
        self.error(match nearest(&found, words.iter().copied()) {
            Some(near) => format!("{found} is unknown here; did you mean {near}?"),
            None => format!("{begins} with {}, not {found}", words.join(", ")),
        })
    }
}
