//! Schemas that are kept elsewhere, by number.
use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
};

use crate::FormatError;

/// Numbers of schemas that a decoder remembers; a stream that names more is not to be trusted.
const REMEMBERED: usize = 1_000;

/// A schema registry with the contract of Confluent's: every schema has a number, which stands before the value of a record that was
/// written with it (`0`, then the number in four bytes, big-endian). The caller brings one; this crate does no I/O.
pub trait Registry: Debug + Send + Sync {
    /// The text of the schema of this number; `None` if the registry has none. Fails if it can't be asked, with the reason.
    fn schema(&self, id: u32) -> std::result::Result<Option<String>, String>;
    /// Number and text of the latest schema of a subject (`<topic>-value`); else why there is none.
    fn latest(&self, subject: &str) -> std::result::Result<(u32, String), String>;
}

/// From where schemas come.
#[derive(Clone, Debug)]
pub enum Schemas {
    /// One schema, as text, for all records; they hold nothing but their values.
    Local(Arc<str>),
    /// A registry; records are framed.
    Registry {
        /// The registry.
        registry: Arc<dyn Registry>,
        /// Under which name the registry keeps what is written.
        subject: Arc<str>,
    },
}

impl PartialEq for Schemas {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => one == other,
            (
                Self::Registry { registry, subject },
                Self::Registry {
                    registry: other,
                    subject: other_subject,
                },
            ) => Arc::ptr_eq(registry, other) && subject == other_subject,
            _ => false,
        }
    }
}

impl Eq for Schemas {}

/// Why a record is not decoded.
pub(crate) enum Obstacle {
    /// It is bad, whenever it is tried.
    Bad(String),
    /// Its schema can't be asked for now.
    Registry(FormatError),
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

/// The schemas of a registry, parsed. What the registry says of a number is remembered; that it can't be reached is not.
#[derive(Debug)]
pub(crate) struct Known<T> {
    registry: Arc<dyn Registry>,
    schemas: HashMap<u32, std::result::Result<Arc<T>, String>>,
    /// Numbers that it does not have. It may get them later: they are forgotten with the batch.
    missing: HashSet<u32>,
}

impl<T> Known<T> {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            registry,
            schemas: HashMap::new(),
            missing: HashSet::new(),
        }
    }

    /// Another batch begins.
    pub(crate) fn begin(&mut self) {
        self.missing.clear();
        if self.schemas.len() > REMEMBERED {
            self.schemas.clear();
        }
    }

    pub(crate) fn get(
        &mut self,
        id: u32,
        parse: impl FnOnce(&str) -> std::result::Result<Arc<T>, String>,
    ) -> std::result::Result<Arc<T>, Obstacle> {
        if !self.schemas.contains_key(&id) && !self.missing.contains(&id) {
            match self.registry.schema(id) {
                Ok(Some(text)) => drop(self.schemas.insert(id, parse(&text))),
                Ok(None) => drop(self.missing.insert(id)),
                Err(reason) => return Err(Obstacle::Registry(FormatError::Registry(reason))),
            }
        }
        match self.schemas.get(&id) {
            Some(Ok(schema)) => Ok(Arc::clone(schema)),
            Some(Err(reason)) => Err(Obstacle::Bad(format!("schema {id}: {reason}"))),
            None => Err(Obstacle::Bad(format!("the schema registry has no schema {id}"))),
        }
    }
}

/// Why a record is no framed one.
pub(crate) const NOT_FRAMED: &str = "it does not begin with 0 and the number of a schema";

/// The number and the value of a framed record.
pub(crate) fn unframe(record: &[u8]) -> Option<(u32, &[u8])> {
    match record {
        [0, a, b, c, d, value @ ..] => Some((u32::from_be_bytes([*a, *b, *c, *d]), value)),
        _ => None,
    }
}

/// Appends what stands before the value of a framed record.
pub(crate) fn frame(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}
