//! From text to a syntax tree that DataFusion's planner understands.
mod as_of;
pub(crate) mod factor;
mod flink;
mod functions;
mod groups;
mod names;
mod partition;
pub(crate) mod tokens;

use datafusion::sql::sqlparser::{
    ast,
    tokenizer::{Token, TokenWithSpan},
};

use crate::{Catalog, Error};

/// A query as text: its form is right, its names are not looked up yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    tokens: Vec<TokenWithSpan>,
}

impl Query {
    /// Reads one `SELECT …` (or `WITH … SELECT …`).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut statements = tokens::statements(text)?;
        match (statements.pop(), statements.pop()) {
            (Some(tokens), None) => Self::new(tokens),
            (None, _) => Err(Error::Plan("there is no query".to_owned())),
            (Some(_), Some(_)) => Err(Error::Plan("there is more than one query".to_owned())),
        }
    }

    pub(crate) fn new(tokens: Vec<TokenWithSpan>) -> Result<Self, Error> {
        let query = Self {
            tokens: flink::as_table_functions(&tokens),
        };
        parse(query.tokens.clone())?;
        Ok(query)
    }

    /// The syntax tree, with names as they are declared and windows as table functions.
    pub(crate) fn syntax(&self, catalog: &Catalog) -> Result<ast::Query, Error> {
        let mut query = parse(names::as_declared(&self.tokens, catalog))?;
        partition::agrees_with_groups(&mut query)?;
        groups::to_table_functions(&mut query)?;
        as_of::to_conditions(&mut query)?;
        functions::as_operators(&mut query);
        Ok(query)
    }
}

fn parse(tokens: Vec<TokenWithSpan>) -> Result<ast::Query, Error> {
    let end = tokens::end(&tokens);
    let mut parser = tokens::parser(tokens);
    let query = parser.parse_query().map_err(|error| Error::from_parser(error, end))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(*query),
        other => Err(Error::syntax(
            rest.span.start,
            format!("the query should end before {other}"),
        )),
    }
}
