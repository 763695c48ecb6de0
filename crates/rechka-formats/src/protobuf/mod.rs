//! Protocol Buffers: one message a record in the binary encoding (protobuf.dev, "Encoding"), bare or in Confluent's frame.
//!
//! Fields go to the columns of their names. Enums are text, `google.protobuf.Timestamp` is a time, `repeated` is a list, a message is a
//! struct, a map is a list of structs with `key` and `value`. A field that is missing is NULL where the schema can tell (messages,
//! `optional`, `oneof`, proto2), else its default. Of a field that occurs twice the last counts.
mod decode;
mod encode;
mod parse;
mod schema;
#[cfg(test)]
mod tests;
mod token;
mod wire;

pub(crate) use decode::ProtobufDecoder;
pub(crate) use encode::ProtobufEncoder;
