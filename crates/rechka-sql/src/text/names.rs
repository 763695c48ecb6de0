use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Fields};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::is_word;
use crate::{
    Catalog,
    catalog::Named,
    logical::{WINDOW_END, WINDOW_START, WINDOW_TIME},
};

/// Writes every name of a query as it was declared.
///
/// Names keep their case, because they are the names in the records (`dateTime` in JSON), but case does not tell names apart:
/// `DATETIME` finds `dateTime`, unless there are several columns that differ by case only. Quoted names are exact.
pub(super) fn as_declared(tokens: &[TokenWithSpan], catalog: &Catalog) -> Vec<TokenWithSpan> {
    let spellings = Spellings::of(tokens, catalog);
    let mut tokens = tokens.to_vec();
    for token in &mut tokens {
        if let Token::Word(word) = &mut token.token
            && word.quote_style.is_none()
            && let Some(declared) = spellings.declared(&word.value)
        {
            word.value = declared.to_owned();
        }
    }
    tokens
}

#[derive(Default)]
struct Spellings(BTreeMap<String, BTreeSet<String>>);

impl Spellings {
    fn of(tokens: &[TokenWithSpan], catalog: &Catalog) -> Self {
        let mut spellings = Self::default();
        let words = || {
            tokens
                .iter()
                .enumerate()
                .filter_map(|(index, token)| match &token.token {
                    Token::Word(word) => Some((index, word)),
                    _ => None,
                })
        };
        for name in [WINDOW_START, WINDOW_END, WINDOW_TIME] {
            spellings.add(name);
        }
        for (_, word) in words() {
            match catalog.declared(&word.value) {
                Some((name, Named::Relation(relation))) => {
                    spellings.add(name);
                    spellings.add_fields(relation.schema.fields());
                }
                Some((name, Named::Query(plan))) => {
                    spellings.add(name);
                    spellings.add_fields(plan.schema().fields());
                }
                Some((_, Named::Sink(_))) | None => {}
            }
        }
        for (index, word) in words() {
            if word.quote_style.is_some()
                || index
                    .checked_sub(1)
                    .is_some_and(|before| is_word(&tokens[before].token, "AS"))
            {
                spellings.add(&word.value);
            }
        }
        for (_, word) in words() {
            spellings
                .0
                .entry(word.value.to_lowercase())
                .or_insert_with(|| [word.value.clone()].into());
        }
        spellings
    }

    fn add(&mut self, name: &str) {
        self.0.entry(name.to_lowercase()).or_default().insert(name.to_owned());
    }

    fn add_fields(&mut self, fields: &Fields) {
        for field in fields {
            self.add(field.name());
            let mut kind = field.data_type();
            while let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = kind {
                kind = item.data_type();
            }
            if let DataType::Struct(fields) = kind {
                self.add_fields(fields);
            }
        }
    }

    /// How a name was declared, if that is not how it is written here and there is one way only.
    fn declared(&self, name: &str) -> Option<&str> {
        let spellings = self.0.get(&name.to_lowercase())?;
        let only = spellings.first().filter(|_| spellings.len() == 1)?;
        (only != name).then_some(only)
    }
}
