//! Reading `.proto` files (protobuf.dev, "Language Specification"): what messages hold. Options, services and extensions are passed over;
//! of what a file imports only the well-known Timestamp is known.
use super::{
    schema::{Enum, Field, Kind, Message, Schema},
    token::{Token, tokens},
};

const MAX_DEPTH: usize = 64;
const TIMESTAMP: &str = "google.protobuf.Timestamp";

type Parsed<T> = Result<T, String>;

/// Reads a file.
pub(super) fn parse(text: &str) -> Parsed<Schema> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        proto2: true,
        schema: Schema::default(),
        open: Vec::new(),
    };
    parser.file()?;
    parser.resolve()?;
    Ok(parser.schema)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    proto2: bool,
    schema: Schema,
    /// Fields of messages and enums: their message, their place in it, the name of their type.
    open: Vec<(usize, usize, String)>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn word(&mut self) -> Parsed<String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word.clone())
            }
            other => Err(format!("expected a name, found {other:?}")),
        }
    }

    fn mark(&mut self, mark: char) -> Parsed<()> {
        match self.skips(mark) {
            true => Ok(()),
            false => Err(format!("expected '{mark}', found {:?}", self.peek())),
        }
    }

    fn skips(&mut self, mark: char) -> bool {
        let there = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(there);
        there
    }

    /// Passes a statement: to its semicolon, or over its block.
    fn statement(&mut self) -> Parsed<()> {
        let mut depth = 0;
        loop {
            match self.peek().ok_or("the file ends within a statement")? {
                Token::Mark('{' | '[' | '(') => depth += 1,
                Token::Mark(mark @ ('}' | ']' | ')')) => {
                    depth -= 1;
                    if depth <= 0 && *mark == '}' {
                        self.at += 1;
                        return Ok(());
                    }
                }
                Token::Mark(';') if depth == 0 => {
                    self.at += 1;
                    return Ok(());
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn file(&mut self) -> Parsed<()> {
        let mut package = String::new();
        while self.peek().is_some() {
            if self.skips(';') {
                continue;
            }
            match self.word()?.as_str() {
                "syntax" => {
                    self.mark('=')?;
                    self.proto2 = self.peek() == Some(&Token::Text("proto2".to_owned()));
                    self.statement()?;
                }
                "edition" => return Err("editions are not known: write syntax = \"proto3\"".to_owned()),
                "package" => {
                    package = self.word()?;
                    self.mark(';')?;
                }
                "message" => {
                    let message = self.message(&package, 0)?;
                    self.schema.roots.push(message);
                }
                "enum" => self.enumeration(&package)?,
                "import" | "option" | "service" | "extend" => self.statement()?,
                other => return Err(format!("{other:?} is no definition")),
            }
        }
        Ok(())
    }

    fn message(&mut self, scope: &str, depth: usize) -> Parsed<usize> {
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} messages inside each other"));
        }
        let name = join(scope, &self.word()?);
        let index = self.schema.messages.len();
        self.schema.messages.push(Message {
            name: name.clone(),
            ..Message::default()
        });
        self.mark('{')?;
        while !self.skips('}') {
            if self.skips(';') {
                continue;
            }
            let word = self.word()?;
            match word.as_str() {
                "message" if self.is_definition() => {
                    let inner = self.message(&name, depth + 1)?;
                    self.schema.messages[index].inner.push(inner);
                }
                "enum" if self.is_definition() => self.enumeration(&name)?,
                "option" | "reserved" | "extensions" | "extend" => self.statement()?,
                "oneof" => {
                    self.word()?;
                    self.mark('{')?;
                    while !self.skips('}') {
                        match self.word()?.as_str() {
                            "option" => self.statement()?,
                            kind => self.field(index, kind, false, true)?,
                        }
                    }
                }
                "map" if self.skips('<') => self.map(index)?,
                "optional" | "required" | "repeated" => {
                    let kind = self.word()?;
                    self.field(index, &kind, word == "repeated", word != "repeated")?;
                }
                kind => self.field(index, kind, false, self.proto2)?,
            }
        }
        Ok(index)
    }

    /// Whether a name and a block follow (`message` may also be the name of a field's type).
    fn is_definition(&self) -> bool {
        self.tokens.get(self.at + 1) == Some(&Token::Mark('{'))
    }

    /// `kind` was read; its name, its number and its options follow.
    fn field(&mut self, message: usize, kind: &str, repeated: bool, explicit: bool) -> Parsed<()> {
        if kind == "group" {
            return Err("groups are not supported: use a message".to_owned());
        }
        let name = self.word()?;
        self.mark('=')?;
        let number = self.word()?;
        let number = number
            .parse()
            .map_err(|_| format!("{number} is no number of a field"))?;
        self.statement()?;
        let fields = &mut self.schema.messages[message].fields;
        let scalar = Kind::scalar(kind);
        if scalar.is_none() {
            self.open.push((message, fields.len(), kind.to_owned()));
        }
        fields.push(Field {
            name,
            number,
            kind: scalar.unwrap_or(Kind::Timestamp),
            repeated,
            explicit,
        });
        Ok(())
    }

    /// A map is a repeated message of a key and a value. `map<` was read.
    fn map(&mut self, message: usize) -> Parsed<()> {
        let key = self.word()?;
        self.mark(',')?;
        let value = self.word()?;
        self.mark('>')?;
        let entry = self.schema.messages.len();
        let name = format!("{}.{entry}Entry", self.schema.messages[message].name);
        self.schema.messages.push(Message {
            name: name.clone(),
            ..Message::default()
        });
        for (name, kind, number) in [("key", key, 1), ("value", value, 2)] {
            let scalar = Kind::scalar(&kind);
            if scalar.is_none() {
                self.open.push((entry, number as usize - 1, kind));
            }
            self.schema.messages[entry].fields.push(Field {
                name: name.to_owned(),
                number,
                kind: scalar.unwrap_or(Kind::Timestamp),
                repeated: false,
                explicit: false,
            });
        }
        self.field(message, &name, true, false)
    }

    fn enumeration(&mut self, scope: &str) -> Parsed<()> {
        let name = join(scope, &self.word()?);
        let mut values = Vec::new();
        self.mark('{')?;
        while !self.skips('}') {
            if self.skips(';') {
                continue;
            }
            let symbol = self.word()?;
            if matches!(symbol.as_str(), "option" | "reserved") {
                self.statement()?;
                continue;
            }
            self.mark('=')?;
            let number = self.word()?;
            values.push((
                number
                    .parse()
                    .map_err(|_| format!("{number} is no number of an enum"))?,
                symbol,
            ));
            self.statement()?;
        }
        self.schema.enums.push(Enum { name, values });
        Ok(())
    }

    /// Replaces the names of types by what they mean: first what is inside the message itself, then further out.
    fn resolve(&mut self) -> Parsed<()> {
        for (message, field, name) in std::mem::take(&mut self.open) {
            let mut scope = self.schema.messages[message].name.as_str();
            let kind = loop {
                let full = match name.strip_prefix('.') {
                    Some(absolute) => absolute.to_owned(),
                    None => join(scope, &name),
                };
                if let Some(index) = self.schema.messages.iter().position(|message| message.name == full) {
                    break Some(Kind::Message(index));
                }
                if let Some(index) = self.schema.enums.iter().position(|one| one.name == full) {
                    break Some(Kind::Enum(index));
                }
                if full == TIMESTAMP {
                    break Some(Kind::Timestamp);
                }
                if scope.is_empty() || name.starts_with('.') {
                    break None;
                }
                scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
            };
            self.schema.messages[message].fields[field].kind =
                kind.ok_or_else(|| format!("the type {name} is not defined in this file"))?;
        }
        Ok(())
    }
}

fn join(scope: &str, name: &str) -> String {
    match scope {
        "" => name.to_owned(),
        scope => format!("{scope}.{name}"),
    }
}
