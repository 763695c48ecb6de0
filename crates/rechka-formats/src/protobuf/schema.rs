//! What a `.proto` file defines.

/// The messages and enums of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Schema {
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
    /// The messages that are not inside another, by index.
    pub(super) roots: Vec<usize>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Message {
    /// With the package and the messages it is in.
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// The messages in it, by index.
    pub(super) inner: Vec<usize>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Enum {
    pub(super) name: String,
    pub(super) values: Vec<(i64, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// Whether the schema can tell a missing value from a default one.
    pub(super) explicit: bool,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    /// `int32`, `int64`.
    Int,
    /// `uint32`, `uint64`.
    Unsigned,
    /// `sint32`, `sint64`: zig-zag.
    Signed,
    Fixed32,
    Fixed64,
    SignedFixed32,
    SignedFixed64,
    Bool,
    String,
    Bytes,
    Enum(usize),
    Message(usize),
    /// `google.protobuf.Timestamp`.
    Timestamp,
}

impl Kind {
    pub(super) fn scalar(name: &str) -> Option<Self> {
        Some(match name {
            "double" => Self::Double,
            "float" => Self::Float,
            "int32" | "int64" => Self::Int,
            "uint32" | "uint64" => Self::Unsigned,
            "sint32" | "sint64" => Self::Signed,
            "fixed32" => Self::Fixed32,
            "fixed64" => Self::Fixed64,
            "sfixed32" => Self::SignedFixed32,
            "sfixed64" => Self::SignedFixed64,
            "bool" => Self::Bool,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            _ => return None,
        })
    }

    /// How a value is written: 0 as a varint, 1 in 8 bytes, 2 after its length, 5 in 4 bytes.
    pub(super) fn wire(self) -> u64 {
        match self {
            Self::Int | Self::Unsigned | Self::Signed | Self::Bool | Self::Enum(_) => 0,
            Self::Double | Self::Fixed64 | Self::SignedFixed64 => 1,
            Self::String | Self::Bytes | Self::Message(_) | Self::Timestamp => 2,
            Self::Float | Self::Fixed32 | Self::SignedFixed32 => 5,
        }
    }
}

impl Schema {
    /// The message of this name (its last parts suffice), or the first.
    pub(super) fn message(&self, name: Option<&str>) -> Result<usize, String> {
        let Some(name) = name else {
            return self
                .roots
                .first()
                .copied()
                .ok_or_else(|| "no message is defined".to_owned());
        };
        let fits = |full: &str| {
            full.strip_suffix(name)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let found = self.messages.iter().position(|message| fits(&message.name));
        found.ok_or_else(|| {
            let names: Vec<_> = self.messages.iter().map(|message| message.name.as_str()).collect();
            format!("no message {name}; there are {}", names.join(", "))
        })
    }

    /// The message at the place that a frame names: which of the outermost, which in it, and so on.
    pub(super) fn at(&self, path: &[usize]) -> Option<usize> {
        let (first, inner) = path.split_first()?;
        let mut message = *self.roots.get(*first)?;
        for index in inner {
            message = *self.messages[message].inner.get(*index)?;
        }
        Some(message)
    }
}
