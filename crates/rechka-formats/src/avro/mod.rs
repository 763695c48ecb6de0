//! Avro: one datum a record in the binary encoding (Avro 1.12 specification, "Binary encoding"), bare or in Confluent's frame.
//!
//! The writer's schema says how the bytes are read; fields go to the columns of their names.
mod datum;
mod decode;
mod encode;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use decode::AvroDecoder;
pub(crate) use encode::AvroEncoder;
