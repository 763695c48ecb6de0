//! Schemas that are kept elsewhere, by number.
use std::{fmt::Debug, sync::Arc};

/// A schema registry with the contract of Confluent's: every schema has a number, which stands before the value of a record that was
/// written with it (`0`, then the number in four bytes, big-endian). The caller brings one; this crate does no I/O.
pub trait Registry: Debug + Send + Sync {
    /// The text of the schema of this number; else why there is none.
    fn schema(&self, id: u32) -> std::result::Result<String, String>;
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
