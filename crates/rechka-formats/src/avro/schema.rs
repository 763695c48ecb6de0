//! Schemas in Avro's JSON.
use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value};

/// Types inside each other, at most.
const MAX_DEPTH: usize = 64;
/// Types in a schema with every name replaced by what it stands for, at most: names can double a schema with every line.
const MAX_TYPES: usize = 10_000;

/// A type of the writer.
#[derive(Debug, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    /// `int` and `long` are written alike.
    Long(Meaning),
    Float,
    Double,
    /// Bytes with their length, or so many.
    Bytes {
        fixed: Option<usize>,
        decimal: Option<i8>,
    },
    String,
    Enum(Vec<String>),
    Array(Arc<Type>),
    Map(Arc<Type>),
    Union(Vec<Arc<Type>>),
    Record(Vec<(String, Arc<Type>)>),
}

impl Type {
    /// Whether its values have no bytes.
    fn is_empty(&self) -> bool {
        match self {
            Self::Null | Self::Bytes { fixed: Some(0), .. } => true,
            Self::Record(fields) => fields.iter().all(|(_, schema)| schema.is_empty()),
            _ => false,
        }
    }
}

/// What a whole number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Number,
    /// Units since 1970, so many a second.
    Instant {
        per_second: i64,
    },
    /// Days since 1970.
    Date,
    /// Units since midnight, so many a second.
    Time {
        per_second: i64,
    },
}

/// Reads a schema; an error says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Arc<Type>, String> {
    let schema = serde_json::from_str(text).map_err(|error| format!("the schema is not JSON: {error}"))?;
    let schema = Parser::default().parse(&schema, "", 0)?;
    match &*schema {
        Type::Record(_) => Ok(schema),
        _ => Err("the schema of a stream must be a record".to_owned()),
    }
}

#[derive(Default)]
struct Parser {
    /// By full name, with how many types it stands for. `None` while it is being read: a type that contains itself.
    named: HashMap<String, Option<(Arc<Type>, usize)>>,
    types: usize,
}

impl Parser {
    fn parse(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Arc<Type>, String> {
        self.types += 1;
        if depth > MAX_DEPTH || self.types > MAX_TYPES {
            return Err(format!(
                "more than {MAX_DEPTH} types inside each other, or {MAX_TYPES} in all"
            ));
        }
        match schema {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.parse(branch, namespace, depth + 1));
                Ok(Arc::new(Type::Union(branches.collect::<Result<_, _>>()?)))
            }
            Value::Object(schema) => self.object(schema, namespace, depth),
            other => Err(format!("{other} is no schema")),
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str) -> Result<Arc<Type>, String> {
        if let Some(primitive) = primitive(name, None) {
            return Ok(Arc::new(primitive));
        }
        match self
            .named
            .get(&full_name(name, namespace))
            .or_else(|| self.named.get(name))
        {
            Some(Some((named, types))) => {
                self.types += types;
                Ok(named.clone())
            }
            Some(None) => Err(format!("the type {name} contains itself: that has no place in columns")),
            None => Err(format!("the type {name} is not defined")),
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Arc<Type>, String> {
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            // {"type": {"type": …}}
            Some(inner) => return self.parse(inner, namespace, depth + 1),
            None => return Err("a schema without \"type\"".to_owned()),
        };
        let inner = |key: &str| schema.get(key).ok_or_else(|| format!("{kind} without {key:?}"));
        match kind {
            "array" => {
                let items = self.parse(inner("items")?, namespace, depth + 1)?;
                match items.is_empty() {
                    false => Ok(Arc::new(Type::Array(items))),
                    // A few bytes could claim billions of them.
                    true => Err("an array of items that have no bytes".to_owned()),
                }
            }
            "map" => Ok(Arc::new(Type::Map(self.parse(
                inner("values")?,
                namespace,
                depth + 1,
            )?))),
            "record" | "error" | "enum" | "fixed" => {
                let name = schema
                    .get("name")
                    .and_then(Value::as_str)
                    .ok_or_else(|| format!("{kind} without \"name\""))?;
                let namespace = schema.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let name = full_name(name, namespace);
                let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
                self.named.insert(name.clone(), None);
                let before = self.types;
                let named = Arc::new(match kind {
                    "enum" => Type::Enum(symbols(inner("symbols")?)?),
                    "fixed" => Type::Bytes {
                        fixed: Some(size(inner("size")?)?),
                        decimal: scale(schema)?,
                    },
                    _ => self.record(inner("fields")?, namespace, depth)?,
                });
                self.named.insert(name, Some((named.clone(), self.types - before)));
                Ok(named)
            }
            "bytes" => Ok(Arc::new(Type::Bytes {
                fixed: None,
                decimal: scale(schema)?,
            })),
            name => match primitive(name, schema.get("logicalType").and_then(Value::as_str)) {
                Some(primitive) => Ok(Arc::new(primitive)),
                None => self.by_name(name, namespace),
            },
        }
    }

    fn record(&mut self, fields: &Value, namespace: &str, depth: usize) -> Result<Type, String> {
        let fields = fields.as_array().ok_or("the fields of a record are a list")?;
        let fields = fields.iter().map(|field| {
            let name = field
                .get("name")
                .and_then(Value::as_str)
                .ok_or("a field without \"name\"")?;
            let schema = field
                .get("type")
                .ok_or_else(|| format!("the field {name} has no \"type\""))?;
            Ok((name.to_owned(), self.parse(schema, namespace, depth + 1)?))
        });
        Ok(Type::Record(fields.collect::<Result<_, String>>()?))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn primitive(name: &str, logical: Option<&str>) -> Option<Type> {
    const MILLI: i64 = 1_000;
    const MICRO: i64 = 1_000_000;
    const NANO: i64 = 1_000_000_000;
    let meaning = match (name, logical) {
        ("long", Some("timestamp-millis" | "local-timestamp-millis")) => Meaning::Instant { per_second: MILLI },
        ("long", Some("timestamp-micros" | "local-timestamp-micros")) => Meaning::Instant { per_second: MICRO },
        ("long", Some("timestamp-nanos" | "local-timestamp-nanos")) => Meaning::Instant { per_second: NANO },
        ("long", Some("time-micros")) => Meaning::Time { per_second: MICRO },
        ("int", Some("time-millis")) => Meaning::Time { per_second: MILLI },
        ("int", Some("date")) => Meaning::Date,
        _ => Meaning::Number,
    };
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" | "long" => Type::Long(meaning),
        "float" => Type::Float,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes {
            fixed: None,
            decimal: None,
        },
        _ => return None,
    })
}

fn symbols(symbols: &Value) -> Result<Vec<String>, String> {
    let symbols = symbols.as_array().ok_or("the symbols of an enum are a list")?;
    let symbols = symbols
        .iter()
        .map(|symbol| symbol.as_str().map(str::to_owned).ok_or("a symbol is text"));
    Ok(symbols.collect::<Result<_, _>>()?)
}

fn size(size: &Value) -> Result<usize, String> {
    let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
    Ok(size.ok_or("the size of a fixed is a number")?)
}

/// The scale of a decimal, if the schema is one.
fn scale(schema: &Map<String, Value>) -> Result<Option<i8>, String> {
    if schema.get("logicalType").and_then(Value::as_str) != Some("decimal") {
        return Ok(None);
    }
    let scale = schema.get("scale").map_or(Some(0), Value::as_i64);
    let scale = scale
        .and_then(|scale| i8::try_from(scale).ok())
        .filter(|scale| (0..=38).contains(scale));
    Ok(Some(scale.ok_or("the scale of a decimal is a number from 0 to 38")?))
}
