use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::{
    Decoder, Encoder, FormatError, Pcm, Result, Schemas,
    avro::{AvroDecoder, AvroEncoder},
    csv::{CsvDecoder, CsvEncoder},
    ipc::{ArrowDecoder, ArrowEncoder},
    json::{JsonDecoder, JsonEncoder},
    protobuf::{ProtobufDecoder, ProtobufEncoder},
    raw::{RawDecoder, RawEncoder},
};

/// How the value of a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record. Structs are objects, lists are lists, bytes are Base64.
    Json,
    /// One line of separated fields a record, quoted as in RFC 4180, in the order of the declared columns. An empty field is NULL, `""`
    /// is the empty text.
    Csv {
        /// Between two fields.
        delimiter: u8,
    },
    /// One datum a record, bare or in Confluent's frame.
    Avro(Schemas),
    /// One message a record, bare or in Confluent's frame.
    Protobuf {
        /// `.proto` files.
        schemas: Schemas,
        /// The name of the message; the first of the file if `None`. A frame names the message itself.
        message: Option<Arc<str>>,
    },
    /// The value as the only column, of bytes or text. An empty value is an empty value.
    Raw,
    /// Audio of sessions, to be recognised: the value as the only column, of bytes. Headers say what it is; a record without them is
    /// what is declared here, if anything is. It can be read, not written.
    Audio(Option<Pcm>),
    /// Arrow IPC: one record holds a stream, so many rows (internal topics).
    Arrow,
}

impl Format {
    /// A decoder for records with the columns `declared`, which gives the columns `read`: some of them, in any order.
    ///
    /// Fails if the format has no place for one of the types.
    pub fn decoder(&self, declared: &Schema, read: SchemaRef) -> Result<Box<dyn Decoder>> {
        Ok(match self {
            Self::Json => Box::new(JsonDecoder::new(read)?),
            Self::Csv { delimiter } => Box::new(CsvDecoder::new(*delimiter, declared, read)?),
            Self::Avro(schemas) => Box::new(AvroDecoder::new(schemas, read)?),
            Self::Protobuf { schemas, message } => Box::new(ProtobufDecoder::new(schemas, message.as_deref(), read)?),
            Self::Raw | Self::Audio(_) => Box::new(RawDecoder::new(declared, read)?),
            Self::Arrow => Box::new(ArrowDecoder::new(read)),
        })
    }

    /// An encoder for rows of these columns.
    ///
    /// Fails if the format has no place for one of the types.
    pub fn encoder(&self, columns: &Schema) -> Result<Box<dyn Encoder>> {
        Ok(match self {
            Self::Json => Box::new(JsonEncoder::new(columns)?),
            Self::Csv { delimiter } => Box::new(CsvEncoder::new(*delimiter, columns)?),
            Self::Avro(schemas) => Box::new(AvroEncoder::new(schemas, columns)?),
            Self::Protobuf { schemas, message } => {
                Box::new(ProtobufEncoder::new(schemas, message.as_deref(), columns)?)
            }
            Self::Raw => Box::new(RawEncoder::new(columns)?),
            Self::Audio(_) => {
                return Err(FormatError::Columns {
                    format: "audio",
                    reason: "is read only: write bytes of sound with the format raw".to_owned(),
                });
            }
            Self::Arrow => Box::new(ArrowEncoder),
        })
    }
}
